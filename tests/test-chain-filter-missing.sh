#!/bin/bash
# A missing parent that has the name of a snapshot is not the base: the filter refuses
# to leave it out, and says what to do.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/test-chain-disks.sh"
need filter nbdinfo

letters Z > raw
child vm-000003.vmdk 4 3 "$(hint vm-000002.vmdk)"
filter_refused file raw delta=vm-000003.vmdk
says "the parent of $T/vm-000003.vmdk is a snapshot too, and it is missing" \
    '(if the base holds it already, see delta-follow=false)' \
    "parent 'vm-000002.vmdk' of $T/vm-000003.vmdk not found; looked in $T for: vm-000002.vmdk"
filter_sees Z file raw delta=vm-000003.vmdk delta-follow=false; silent

child x.vmdk 4 3 "$(hint 'C:\VMs\disk-000010.VMDK')"
filter_refused file raw delta=x.vmdk
says "the parent of $T/x.vmdk is a snapshot too" 'disk-000010.VMDK'

# It lies elsewhere.
mkdir other
child other/vm-000002.vmdk 3 2 "$(hint vm.vmdk)"
filter_sees Z file raw delta=vm-000003.vmdk delta-parent-path=other
warns "is taken for the parent of $T/other/vm-000002.vmdk"
filter_sees Z file raw delta=other/vm-000002.vmdk delta=vm-000003.vmdk
warns "is taken for the parent of $T/other/vm-000002.vmdk"

# In the middle of a chain.
child vm-000004.vmdk 5 4 "$(hint vm-000003.vmdk)"
filter_refused file raw delta=vm-000004.vmdk
says "the parent of $T/vm-000003.vmdk is a snapshot too"

# Names that are not those of snapshots.
for n in disk.vmdk disk-1.vmdk disk-00001.vmdk disk-00000x.vmdk 000001.vmdk; do
    child y.vmdk 4 3 "$(hint "$n")"
    filter_sees Z file raw delta=y.vmdk
    warns "is taken for the parent of $T/y.vmdk" "$n"
done

# No hint at all, and a bare extent: nothing to look for.
child z.vmdk 4 3
filter_sees Z file raw delta=z.vmdk
filter_sees Z file raw delta=z-delta.vmdk
warns "$T/z-delta.vmdk is given without its descriptor, which seems to be $T/z.vmdk"
filter_sees Z file raw delta=z-delta.vmdk delta-follow=false
silent
rm z.vmdk
filter_sees Z file raw delta=z-delta.vmdk
silent
