#!/bin/bash
# A linked clone often has the name of its parent: the child itself, found beside the
# child, is not a candidate.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/test-chain-disks.sh"
need filter

mkdir -p store/master store/clone
base store/master/disk.vmdk 1 A
child store/clone/disk.vmdk 2 1 "$(hint /vmfs/volumes/datastore1/master/disk.vmdk)"
sees A store/clone/disk.vmdk parent-path=store
silent
refused store/clone/disk.vmdk
says "parent '/vmfs/volumes/datastore1/master/disk.vmdk' of $T/store/clone/disk.vmdk not found" \
    ../master/disk.vmdk 'lead outside of that directory and were not tried'
sees A store/clone/disk.vmdk parent=store/master/disk.vmdk
sees A store/clone/disk.vmdk parent=store/master/disk.vmdk ignore-cid=true

# Over a raw base it is as if the parent were not there.
letters Z > raw
filter_sees Z file raw delta=store/clone/disk.vmdk
warns 'is taken for the parent of'

# With CIDs that are equal, too.
child store/clone/disk.vmdk 1 1 "$(hint disk.vmdk)"
refused store/clone/disk.vmdk
says "parent 'disk.vmdk' of $T/store/clone/disk.vmdk not found"
