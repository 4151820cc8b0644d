#!/bin/bash
# How long it takes from the moment that the delta has arrived until the guest runs: at
# once on the merged disk; after "vmdkdelta apply" into the base; after a copy of the
# merged disk.  Once with the base on a local file system, once with the base on an NBD
# server that sends 100 MB a second.  All lead to a guest with the right files.  MORE_MIB
# (default 1024) is the size of what is on the disk; an eighth of it is in the delta.
#
#   make check-long TESTS=long-vm-times; cat build/plain/test-logs/long-vm-times.log
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/vm/lib.sh"
. "$top_srcdir/tests/doc.sh"
need filter tool socat setsid nbdkit:filter:rate nbdkit:plugin:nbd
need_vm
installed

guest "${MORE_MIB:-1024}"
rm merged.expected
cp --sparse=always base.img mine.img
sync
serial
on_exit 'for f in local.raw.migrate/*.pid; do kill "$(cat "$f")"; done 2>/dev/null'

begin () { mv console console.old 2>/dev/null || :; t=$EPOCHREALTIME; }
now () { awk "BEGIN { printf \"%.2f\", $EPOCHREALTIME - $t }"; }
# up: wait until the guest's first program runs, and until it has read its files.
up () { wait_console '^GUEST up'; first=$(now); wait_console '^GUEST wrote'; }
row () { printf '%-34s %10s %10s %10s\n' "$@"; }

printf 'disk %s MiB, of that allocated %s MiB, delta %s MiB\n' \
    $(($(stat -c %s base.img) >> 20)) $(($(stat -c '%b * 512' base.img) >> 20)) \
    $(($(stat -c %s change.vmdk) >> 20))
row 'seconds from "delta arrived" to' 'QEMU runs' 'guest up' 'local disk'

live () {  # BASE NAME
    rm -f live.log  # that of the run before says that the guest runs
    begin
    "$top_srcdir/examples/migrate-live.sh" "$1" change.vmdk local.raw -- "${qemu_args[@]}" 7>&- 8>&- > live.log 2>&1 &
    script=$!
    until grep -q 'the guest runs$' live.log 2>/dev/null; do
        kill -0 $script 2>/dev/null || { cat live.log; fail 'migrate-live.sh'; }
        sleep 0.05
    done
    qemu_pid=$(cat local.raw.migrate/qemu.pid)
    started=$(awk '/the guest runs$/ { print $1 }' live.log)
    up
    wait $script || { cat live.log; fail 'migrate-live.sh'; }
    row "$2" "$started" "$first" "$(awk '/base and delta are not needed/ { print $1 }' live.log)"
    sed -n 's/.*alone; it/  it/p' live.log
    check_guest_found
    wait_off
    unchanged
    check_written local.raw > /dev/null
    rm -r local.raw local.raw.migrate
}
then_boot () {  # DISK NAME
    boot -drive "file=$1,format=raw,if=virtio"
    local started
    started=$(now)
    up
    row "$2" "$started" "$first" "$done"
    check_guest_found
    wait_off
}

echo 'the base is a local file:'
live base.img 'live (migrate-live.sh)'
SPEED=50000000 live base.img 'live, SPEED=50000000'
begin
"$TOOL" apply change.vmdk mine.img > apply.log
done=$(now)
then_boot mine.img 'apply, then boot'
begin
nbdcopy -- [ nbdkit --filter=vmdkdelta file base.img delta=change.vmdk ] local.raw
done=$(now)
then_boot local.raw 'copy, then boot'
rm local.raw

echo 'the base is on a server that sends 100 MB/s:'
start --filter=rate file base.img rate=800M
far=$uri
live "$far" 'live (migrate-live.sh)'
begin
nbdcopy -- [ nbdkit --filter=vmdkdelta nbd uri="$far" delta=change.vmdk ] local.raw
done=$(now)
then_boot local.raw 'copy, then boot'
