#!/bin/bash
# Zeros on a device that begin and end within pages, beside data that other threads
# write.  Needs root.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need tool mkimage losetup

"$MKIMAGE" make kdmv a.vmdk --capacity=32M --grain=512 --fill=90 --zero=90 --runs=150 --seed=3
head -c 32M /dev/zero | tr '\0' x > target
cp target want
"$TOOL" apply --quiet a.vmdk want 2> err || { cat err; fail 'a file'; }
loop=$(losetup --find --show target 2>/dev/null) || skip "loop devices cannot be made here"
on_exit 'losetup -d "$loop"'
for threads in 1 16; do
    head -c 32M /dev/zero | tr '\0' x > "$loop"
    "$TOOL" apply --quiet --verify --threads=$threads a.vmdk "$loop" 2> err || { cat err; fail 'a device'; }
    cmp "$loop" want
    sync
    cmp target want
done
