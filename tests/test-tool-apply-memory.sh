#!/bin/bash
# Disks of 62 TB and 1 TB with thousands of grains: memory stays below 64 MB,
# and an undo file brings them back.
#
# GRAINS is how many grains the largest has (default 2000).
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need tool mkimage
[ -x /usr/bin/time ] || need perl

# run ARGS...: and look at the peak of memory.
run () {
    if [ -x /usr/bin/time ]; then
        /usr/bin/time -f %M -o peak "$TOOL" apply --quiet "$@" 2> err || { cat err; fail "apply $*"; }
    else
        perl -e 'system (@ARGV) == 0 or die;
            my $r = "\0" x 144; syscall (98, -1, $r); open my $p, ">", "peak"; print $p unpack ("x32 q", $r), "\n"' \
            "$TOOL" apply --quiet "$@" 2> err || { cat err; fail "apply $*"; }
    fi
    echo "$(tail -n 1 peak) KiB: apply $*"
    # (A sanitizer takes memory of its own.)
    [ "${SANITIZE:-}" ] || [ "$(tail -n 1 peak)" -lt 65536 ] || fail "$(tail -n 1 peak) KiB of memory: $*"
}

grains=${GRAINS:-2000}
common=(--parent=base.vmdk --parent-cid=12345678 --cid=9abcdef0)
"$MKIMAGE" make sesparse a-sesparse.vmdk --capacity=62T --count="$grains" --zero=20 --descriptor=a.vmdk "${common[@]}"
"$MKIMAGE" make sesparse s-sesparse.vmdk --capacity=62T --count=$((grains / 4)) --descriptor=s.vmdk "${common[@]}"
"$MKIMAGE" make cowd b-delta.vmdk --capacity=1T --count=$((grains / 2)) --descriptor=b.vmdk "${common[@]}"
"$MKIMAGE" make cowd c-delta.vmdk --capacity=64M --fill=50 --descriptor=c.vmdk "${common[@]}"

# Not every file system takes a file of 62 TB; the memory plugin does.
start memory 62T
run --verify a.vmdk "$uri"
# The undo file has grains of 64 KiB for such a disk.
run --undo=s-undo.vmdk --threads=1 s.vmdk "$uri"
run --verify s-undo.vmdk "$uri"
stop
rm s-undo.vmdk

truncate -s 1T target
run --undo=b-undo.vmdk --verify b.vmdk target
[ "$(du -k target | cut -f 1)" -gt 2000 ] || fail "nothing was written"
run --verify b-undo.vmdk target
[ "$(du -k target | cut -f 1)" -lt 100000 ] || fail "the sparse target became full"
rm target target.vmdkdelta-state b-undo.vmdk

# Grains of 512 bytes, every second one there: the longest lists of runs.
truncate -s 64M target
run --undo=c-undo.vmdk --verify c.vmdk target
