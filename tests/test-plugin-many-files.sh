#!/bin/bash
# Files that are open: one descriptor a file, however often an image names it; the limit
# is raised; what still does not fit ends the start, with the number that would do, and
# never leaves a server that cannot accept clients.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need plugin filter tool mkimage nbdinfo nbdcopy nbdkit:plugin:file
[ "$(ulimit -Hn)" = unlimited ] || [ "$(ulimit -Hn)" -ge 8192 ] || skip "no more than $(ulimit -Hn) files may be open here"

# descriptor NAME COUNT FILE-NAME-FORMAT...: so many extents of 4 KiB
descriptor () {
    local name=$1 count=$2 format=$3
    {
        printf '# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\ncreateType="custom"\n'
        # shellcheck disable=SC2059
        for ((i = 0; i < count; i++)); do printf "RW 8 FLAT \"$format\" 0\n" $i; done
    } > "$name"
}
open_files () { find "/proc/$server_pid/fd" -mindepth 1 | wc -l; }
# limited SOFT HARD COMMAND...
limited () { ( ulimit -Hn "$2"; ulimit -Sn "$1"; shift 2; "$@" ); }

# ---- One file, named often ------------------------------------------------------

head -c 4096 /dev/urandom > one.bin
descriptor hostile.vmdk 4096 one.bin
ulimit -Sn 1024
start "$PLUGIN" hostile.vmdk
[ "$(open_files)" -lt 50 ] || fail "$(open_files) files are open for an image that names one"
nbdcopy "$uri" got
stop
cp one.bin want
for ((i = 0; i < 12; i++)); do cat want want > twice; mv twice want; done
[ "$(stat -c %s want)" -eq $((4096 * 4096)) ]
same got want

# ---- Many files: the limit is raised ---------------------------------------------

mkdir many
for ((i = 0; i < 1100; i++)); do printf '%4096d' $i > many/x$i.bin; done
descriptor many/disk.vmdk 1100 x%d.bin
cat $(printf 'many/x%d.bin ' $(seq 0 1099)) > want
# The subshell: the soft limit of the test itself stays.
( start -v "$PLUGIN" many/disk.vmdk 2> log
  grep -q 'debug: .*limit of open files: [0-9]* (was 1024), 256 of them are kept free' log
  nbdcopy "$uri" got
  stop )
same got want
"$TOOL" check many/disk.vmdk > out

# ---- More than the hard limit ------------------------------------------------------

# advice: the number that the message in $T/output names.
advice () { sed -n 's/.* a limit of \([0-9]*\) open files would do.*/\1/p' "$T/output" | head -n 1; }
# enough FILE...: the plugin starts with the limit that its message names, serves a
# client, and with 100 less it would not start.
enough () {
    local n
    expect_fail 'Too many open files .*ulimit -n.*LimitNOFILE=' limited 1024 1024 \
        nbdkit -f --exit-with-parent -U "$T/no.sock" "$PLUGIN" "$@"
    if grep 'not an export' "$T/output"; then fail 'it is not the fault of an image'; fi
    n=$(advice)
    [ "${n:-0}" -gt 1024 ] || fail "the advice is '$n'"
    ( ulimit -Hn "$n"; ulimit -Sn 1000
      start "$PLUGIN" "$@"
      # clients at the same time
      for i in 1 2 3 4 5 6 7 8; do "$TOOL" create --threads=2 --from "$uri" --to "$uri" --quiet o$i.vmdk & done
      wait $(jobs -p | grep -vx "$server_pid")
      nbdinfo --size "$uri"
      stop )
    [ -e o8.vmdk ] || fail 'a client got no answer'
    rm o?.vmdk
    expect_fail 'Too many open files' limited 1000 $((n - 300)) \
        nbdkit -f --exit-with-parent -U "$T/no.sock" "$PLUGIN" "$@"
}
enough many/disk.vmdk

mkdir dir
"$MKIMAGE" make kdmv dir/d0.vmdk --capacity=64K --fill=50 --embedded
for ((i = 1; i < 1000; i++)); do cp dir/d0.vmdk dir/d$i.vmdk; done
expect_fail 'dir holds 1000 files of disks' limited 1024 1024 \
    nbdkit -f --exit-with-parent -U "$T/no.sock" "$PLUGIN" dir=dir
start "$PLUGIN" dir=dir
nbdinfo --list "$uri" > list
[ "$(grep -c '^export=' list)" -eq 1000 ] || fail "$(grep -c '^export=' list) exports of 1000"
stop

# ---- The others ---------------------------------------------------------------------

truncate -s 4400K raw
sed -i -e 's/parentCID=ffffffff/parentCID=fffffffe/' many/disk.vmdk
expect_fail 'Too many open files' limited 1024 1024 \
    nbdkit -f --exit-with-parent -U "$T/no.sock" --filter="$FILTER" file raw delta=many/disk.vmdk
expect_fail 'Too many open files' limited 1024 1024 "$TOOL" info many/disk.vmdk
expect_fail 'Too many open files' limited 1024 1024 "$TOOL" check many/disk.vmdk
serve file raw delta=many/disk.vmdk
nbdcopy "$uri" got
stop
same got want
