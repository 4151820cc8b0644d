#!/bin/bash
# A file system that has no room for what a sparse target would newly take, or
# for the undo file: refused before anything is written, with both numbers.
# Needs root, to mount a small file system.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need tool mkimage

mkdir full roomy
mount -t tmpfs -o size=3M tmpfs full 2> err || skip "no file system can be mounted here"
on_exit 'umount full'

"$MKIMAGE" make cowd a-delta.vmdk --capacity=16M --fill=25 --runs=128 --descriptor=a.vmdk \
    --parent=base.vmdk --parent-cid=12345678 --cid=9abcdef0 --content=noise
truncate -s 16M full/target
cp --sparse=always full/target roomy/target
[ "$(du -k full/target | cut -f 1)" = 0 ]

# refuse REGEX ARGS...: also in a dry run.
refuse () {
    local option
    for option in --quiet --dry-run; do
        expect_fail "$1" "$TOOL" apply $option "${@:2}"
        grep -q "nothing was written" "$T/output" || { cat "$T/output"; fail "not said that nothing was written"; }
    done
    [ "$(du -k full | cut -f 1)" = 0 ] || fail "something was written"
}

numbers='needs up to [0-9]+ bytes, but its file system has only [0-9]+ free'
refuse "full/target: applying $numbers" a.vmdk full/target
refuse "the undo file $numbers" --undo=full/undo.vmdk a.vmdk roomy/target
cmp -n 16777216 roomy/target /dev/zero

# The undo file of a run that was cut off is there, and needs no more room.
need=$(sed -n 's/.*the undo file needs up to \([0-9]*\) bytes.*/\1/p' output)
mount -o remount,size=$((need / 1024 + 64))K full
head -c 16M /dev/urandom > roomy/old
fresh roomy/old roomy/again
"$TOOL" apply --quiet --undo=full/undo.vmdk a.vmdk roomy/again 2> err || { cat err; fail "the first run"; }
cp roomy/again roomy/new
dd if=roomy/old of=roomy/again bs=1M count=8 conv=notrunc status=none
rm roomy/again.vmdkdelta-state
"$TOOL" apply --quiet --undo=full/undo.vmdk a.vmdk roomy/again 2> err || { cat err; fail "not run again for want of room"; }
cmp roomy/again roomy/new
"$TOOL" apply --quiet full/undo.vmdk roomy/again 2> err
cmp roomy/again roomy/old

# What is allocated already needs no room.
"$TOOL" apply --quiet a.vmdk roomy/target 2> err || { cat err; fail "where there is room"; }
"$TOOL" apply --quiet --json a.vmdk roomy/target > out 2> err
grep -q '"new-space": 0,' out || { cat out; fail "new space, though all is allocated"; }
