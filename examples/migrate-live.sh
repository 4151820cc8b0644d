#!/bin/bash
# Start a virtual machine at once on a base and a VMDK delta, and copy its disk while it
# runs.  docs/migrate.md explains what happens, and what to do before and after.
#
#   migrate-live.sh BASE DELTA TARGET [-- QEMU-ARGUMENTS...]
#
#   BASE      the raw disk as it was when the snapshot was made: a file, a device, or the
#             URI of an NBD or web server that has it
#   DELTA     the newest delta (its descriptor, if it has one)
#   TARGET    the new disk: a new raw file, or a block device that is large enough, which
#             is overwritten.
#
# For example:
#
#   STATE=/var/lib/vm1 migrate-live.sh base.img x.vmdk /dev/vg/vm1 -- \
#       -name vm1 -accel kvm -cpu host -m 4G -smp 2 -display vnc=:1
#
# What the guest writes goes to an overlay in the directory STATE (TARGET.migrate if
# TARGET is a file) until TARGET is complete; base and delta are only read.  If anything
# stops before that, run the same command again: the machine starts with the same overlay,
# so what it has written is there, and the copy starts over.  If the machine still runs and
# only the copy has failed, the same command makes the copy again.
#
# At the end the machine is paused for a moment, and then uses only TARGET.  QEMU's monitor
# is STATE/qmp.
#
# The environment variable SPEED limits the copy to that many bytes a second.
#
# Needs Linux, nbdkit with the filter, vmdkdelta, nbdinfo, QEMU 5.0 or newer, and socat.
set -euo pipefail

pausing=
die () {
    # Nothing is changed over yet if it is paused, so the guest goes on as before.
    [ -z "$pausing" ] || echo '{"execute":"cont"}' >&"${COPROC[1]}" || :
    echo "migrate-live: $*" >&2
    exit 1
}
usage () { sed -n '2,/^set /{ s/^# \{0,1\}//; /^set /d; p }' "$0"; exit "$1"; }

case ${1:-} in -h|--help) usage 0 ;; esac
[ $# -ge 3 ] || usage 2 >&2
case $1 in
    nbd://*|nbds://*|nbd+unix://*) base=$1 from=(nbd uri="$1") ;;
    http://*|https://*)            base=$1 from=(curl "$1") ;;
    *) base=$(realpath -e "$1"); from=(file "$base") ;;
esac
delta=$(realpath "$2") target=$(realpath "$3")
shift 3
case ${1:-} in --) shift ;; ?*) usage 2 >&2 ;; esac
qemu=${QEMU:-qemu-system-x86_64}
for c in nbdkit vmdkdelta nbdinfo qemu-img socat "$qemu"; do
    command -v "$c" > /dev/null || die "$c is missing"
done
if [ -b "$target" ] && [ -z "${STATE:-}" ]; then
    die 'for a device, set STATE to a directory on a disk with room for what the guest writes'
fi
state=$(realpath "${STATE:-$target.migrate}")
overlay=$state/overlay.qcow2

start=$(date +%s%N)
say () { awk -v t="$(($(date +%s%N) - start))" -v text="$*" 'BEGIN { printf "%7.2f s  %s\n", t / 1e9, text }'; }

# json STRING: in quotes.
json () { local s=${1//\\/\\\\}; printf '"%s"' "${s//\"/\\\"}"; }
# runs NAME: does NAME (qemu, nbdkit) still run for this disk?
runs () { [ -s "$state/$1.pid" ] && grep -qsaF "$state/" "/proc/$(cat "$state/$1.pid")/cmdline"; }

[ ! -e "$state/done" ] || die "$target was completed by an earlier run: start the machine on it.
To begin anew, and lose what is on it, remove $state"
driver="file"
if [ -b "$target" ]; then
    driver=host_device
elif [ -e "$target" ] && [ ! -e "$overlay" ]; then
    die "$target exists already"
fi

if ! runs qemu; then

    # ---- The merged disk, read-only, over NBD ----------------------------------------

    # A damaged delta would show when the guest reads that place: better now.
    vmdkdelta check "$delta" > /dev/null || die "the delta is damaged: see vmdkdelta check $delta"
    mkdir -p "$state"
    ! runs nbdkit || kill "$(cat "$state/nbdkit.pid")"
    rm -f "$state"/*.pid "$state/nbd" "$state/qmp"
    setsid --fork nbdkit -f -r -U "$state/nbd" -P "$state/nbdkit.pid" \
        --filter=vmdkdelta "${from[@]}" delta="$delta" < /dev/null > "$state/nbdkit.log" 2>&1
    for ((i = 0; i < 500; i++)); do [ ! -s "$state/nbdkit.pid" ] || break; sleep 0.02; done
    runs nbdkit || die "nbdkit does not start:
$(cat "$state/nbdkit.log")"
    size=$(nbdinfo --size "nbd+unix:///?socket=$state/nbd") || die "$(cat "$state/nbdkit.log")"
    say "base and delta are served as one disk of $size bytes"

    # ---- The overlay: what the guest writes until TARGET is complete -------------------

    if [ -e "$overlay" ]; then
        say 'the overlay of an earlier run is used'
    else
        qemu-img create -q -f qcow2 "$overlay" "$size"
    fi
    if [ $driver = file ]; then
        truncate -s "$size" "$target"
    elif [ "$(blockdev --getsize64 "$target")" -lt "$size" ]; then
        die "$target is smaller than $size bytes"
    fi

    # ---- The machine starts -------------------------------------------------------------

    "$qemu" \
        -blockdev "{\"driver\":\"nbd\", \"node-name\":\"merged\", \"read-only\":true,
                    \"reconnect-delay\":30,
                    \"server\":{\"type\":\"unix\", \"path\":$(json "$state/nbd")}}" \
        -blockdev "{\"driver\":\"qcow2\", \"node-name\":\"overlay\", \"backing\":\"merged\",
                    \"file\":{\"driver\":\"file\", \"filename\":$(json "$overlay")}}" \
        -device virtio-blk-pci,drive=overlay \
        -qmp "unix:$state/qmp,server=on,wait=off" -pidfile "$state/qemu.pid" -daemonize "$@"
    say 'the guest runs'
fi

# ---- Its disk is copied while it runs ----------------------------------------------------

# qmp COMMAND [ARGUMENTS]: the answer is in $answer.
coproc socat - "UNIX-CONNECT:$state/qmp"
qmp () {
    echo "{\"execute\":\"$1\"${2:+,\"arguments\":$2}}" >&"${COPROC[1]}"
    while read -r answer <&"${COPROC[0]}"; do
        case $answer in
            '{"return"'*) return 0 ;;
            '{"error"'*) die "QEMU refuses $1: $answer" ;;
        esac
    done
    die 'QEMU has ended'
}
# field NAME: of the answer, a number or a string.
field () { sed -n "s/.*\"$1\": \"\{0,1\}\([^\",}]*\).*/\1/p" <<< "$answer"; }

qmp qmp_capabilities
qmp blockdev-add "{\"driver\":\"raw\", \"node-name\":\"local\",
    \"file\":{\"driver\":\"$driver\", \"filename\":$(json "$target")}}"
qmp blockdev-mirror '{"job-id":"migrate", "device":"overlay", "target":"local", "sync":"full",
    "auto-dismiss":false, "speed":'"${SPEED:-0}"'}'

last=-1
while :; do
    qmp query-jobs
    case $(field status) in
        ready|concluded) break ;;
        '') die "the copy has gone: $answer" ;;
    esac
    total=$(field total-progress)
    percent=$((total > 0 ? 100 * $(field current-progress) / total : 0))
    if [ $((percent / 10)) -gt $((last / 10)) ]; then say "copied: $percent %"; last=$percent; fi
    sleep 0.2
done

# ---- From the overlay to TARGET ------------------------------------------------------------
#
# While the machine is paused, both have the same content, and TARGET is flushed.  So it
# does not matter which of them is used if something stops here: until "done" exists it
# is the overlay.

if [ "$(field status)" = ready ]; then
    say 'the copy has caught up; changing over'
    trap '' INT TERM HUP
    qmp stop
    pausing=1
    paused=$(date +%s%N)
    qmp job-complete '{"id":"migrate"}'
    pausing=
    until qmp query-jobs; [ "$(field status)" = concluded ]; do sleep 0.01; done
fi
error=$(field error)
qmp job-dismiss '{"id":"migrate"}'
if [ "$error" ]; then
    qmp blockdev-del '{"node-name":"local"}'
    qmp cont
    die "the copy failed: $error
The guest goes on running, on the overlay; see also $state/nbdkit.log"
fi
date > "$state/done"
sync "$state/done" "$state"
qmp cont
say "the guest runs on $target alone; it was paused for $((($(date +%s%N) - paused) / 1000000)) ms"

# ---- What is not needed any more -------------------------------------------------------------

qmp blockdev-del '{"node-name":"overlay"}'
qmp blockdev-del '{"node-name":"merged"}'
kill "$(cat "$state/nbdkit.pid")"
rm -f "$overlay" "$state/nbdkit.pid"
say 'the overlay is removed; base and delta are not needed any more'
