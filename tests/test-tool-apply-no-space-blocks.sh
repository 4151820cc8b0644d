#!/bin/bash
# Grains smaller than a block of the file system take whole blocks: that has to
# be counted, or there is no room left in the middle.  Needs root.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need tool mkimage mke2fs
truncate -s 30M img
mke2fs -q -t ext4 -b 4096 -F img
mkdir m
mount -o loop img m 2> err || skip "no file system can be mounted here"
on_exit 'umount m'
"$MKIMAGE" make cowd a-delta.vmdk --capacity=256M --count=12000 --grain=512 --descriptor=a.vmdk \
    --parent=base.vmdk --parent-cid=12345678 --cid=9abcdef0
truncate -s 256M m/t
expect_fail 'applying needs up to [0-9]+ bytes.*nothing was written' "$TOOL" apply a.vmdk m/t
[ "$(du -k m/t | cut -f 1)" = 0 ] || fail "something was written"
