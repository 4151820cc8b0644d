#!/bin/bash
# A hint, or the user, names the data of a disk instead of its descriptor: the message
# says so and names what to open.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/test-chain-disks.sh"

base disk.vmdk 1 A
child disk-000001.vmdk 2 1 "$(hint disk.vmdk)"
"$MKIMAGE" make sesparse x-sesparse.vmdk --capacity=64K
"$MKIMAGE" make kdmv x-s001.vmdk --capacity=64K
"$MKIMAGE" make kdmv x.dat --capacity=64K

child s.vmdk 3 2 "$(hint disk-000001-delta.vmdk)"
refused s.vmdk
says "the parent 'disk-000001-delta.vmdk' of $T/s.vmdk" \
    "$T/disk-000001-delta.vmdk is the data of a disk (a bare COWD extent), not its descriptor"
child s.vmdk 3 2 "$(hint x-sesparse.vmdk)"
refused s.vmdk
says "the parent 'x-sesparse.vmdk' of $T/s.vmdk" 'a bare SEsparse extent'
child s.vmdk 3 2 "$(hint disk-flat.vmdk)"
refused s.vmdk
says "the parent 'disk-flat.vmdk' of $T/s.vmdk" \
    "$T/disk-flat.vmdk is the data of a disk (raw bytes), not its descriptor and not a delta: open $T/disk.vmdk"
child s.vmdk 3 2 "$(hint x.dat)"
refused s.vmdk
says "$T/x.dat is the data of a disk (a bare KDMV extent), not its descriptor"

# Given by the user.
refused disk-flat.vmdk
says "$T/disk-flat.vmdk is the data of a disk (raw bytes), not its descriptor" "open $T/disk.vmdk"
refused disk-000001-delta.vmdk
says "$T/disk-000001-delta.vmdk is the data of a disk, not the disk: open its descriptor $T/disk-000001.vmdk"
refused x-sesparse.vmdk
says "open its descriptor $T/x.vmdk"
refused x-s001.vmdk
says "open its descriptor $T/x.vmdk"
refused x.dat
says "$T/x.dat is the data of a disk (a bare extent without a descriptor), so its parent is not known: open its descriptor"
# With a parent it can be read: nothing in it, so the parent shows.
sees A disk-000001-delta.vmdk parent=disk.vmdk
