#!/bin/bash
# Linked clones that were moved together, and directories named by parent-path: these
# are tried in their order, each for the last two components of the hint and then for
# the last one, and only what is allowed is opened.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/test-chain-disks.sh"
need filter nbdinfo

mkdir -p store/master store/clone one/master two
base store/master/disk.vmdk 1 A
base one/disk.vmdk 1 B
base one/master/disk.vmdk 1 C
base two/disk.vmdk 1 D
child store/clone/vm.vmdk 2 1 "$(hint /vmfs/volumes/datastore1/master/disk.vmdk)"

# Beside the child there is none, and elsewhere it may not look.
refused store/clone/vm.vmdk
says "parent '/vmfs/volumes/datastore1/master/disk.vmdk' of $T/store/clone/vm.vmdk" \
    ../master/disk.vmdk 'lead outside of that directory and were not tried'
sees A store/clone/vm.vmdk parent-path=store
sees A store/clone/vm.vmdk parent-path=store/master
sees A store/clone/vm.vmdk unconfined=true

# The order is that of the command line; two components before one.
sees C store/clone/vm.vmdk parent-path=one parent-path=two
sees D store/clone/vm.vmdk parent-path=two parent-path=one
mv one/master one/renamed
sees B store/clone/vm.vmdk parent-path=one parent-path=two
mv one/disk.vmdk one/x.vmdk
sees D store/clone/vm.vmdk parent-path=one parent-path=two

# The filter has the same option.
letters Z > raw
filter_sees Z file raw delta=store/clone/vm.vmdk delta-parent-path=store
silent
filter_sees Z file raw delta=store/clone/vm.vmdk
warns 'is taken for the parent of' "$T/store/clone/vm.vmdk"

# Not a directory, or not there.
expect_fail "$T/nowhere: cannot open directory: No such file or directory" \
    nbdkit "$PLUGIN" store/clone/vm.vmdk parent-path=nowhere --run true
expect_fail "$T/raw: cannot open directory: Not a directory" \
    nbdkit "$PLUGIN" store/clone/vm.vmdk parent-path=raw --run true
