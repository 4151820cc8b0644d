#!/bin/bash
# In use, seen in other ways: a dry run on a mounted device, another name (hard
# link) of a file that is attached to a loop device.  Needs root.
. "$top_srcdir/tests/lib.sh"
need tool mkimage losetup mke2fs
"$MKIMAGE" make cowd a-delta.vmdk --capacity=8M --fill=30 --runs=8 --descriptor=a.vmdk \
    --parent=base.vmdk --parent-cid=12345678 --cid=9abcdef0
mke2fs -q -t ext4 -F target 8M
loop=$(losetup --find --show target 2>/dev/null) || skip "loop devices cannot be made here"
on_exit 'losetup -d "$loop"'
ln target hard
expect_fail "attached to the loop device $loop" "$TOOL" apply a.vmdk hard
mkdir mnt
mount "$loop" mnt || skip "mounting is not possible here"
on_exit 'umount mnt'
expect_fail "$loop is in use" "$TOOL" apply --dry-run a.vmdk "$loop"
