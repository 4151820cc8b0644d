#!/bin/bash
# The descriptors are lost, and the newest delta is given alone: older ones beside it are
# not left out in silence.  They are known by ESXi's names, also in copies; what is of
# another disk does not count.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/test-chain-disks.sh"
need filter tool cmp nbdinfo

# All of the disk is in the first delta, nothing in the others.
"$MKIMAGE" make cowd disk-000001-delta.vmdk --capacity=64K --fill=100 --raw=right
"$MKIMAGE" make cowd disk-000002-delta.vmdk --capacity=64K --fill=0
"$MKIMAGE" make sesparse disk-000003-sesparse.vmdk --capacity=64K --fill=0
letters A > disk-flat.vmdk
cp disk-flat.vmdk before

# reads_right ARGS...: the filter over the base.
reads_right () {
    nbdkit_run file disk-flat.vmdk "$@" --run "nbdcopy \"\$uri\" '$T/seen'" 2> "$T/log"
    same seen right
}
# forgotten NAME GIVEN...: refused by filter and apply, which say all, oldest first.
forgotten () {
    local all=$1 deltas=() d
    shift
    for d; do deltas+=("delta=$d"); done
    filter_refused file disk-flat.vmdk "${deltas[@]}"
    says 'is given without its descriptor' "Give all of them, oldest first: $all" 'delta-follow=false takes only'
    expect_fail 'oldest first: ' "$TOOL" apply "$@" disk-flat.vmdk
    same disk-flat.vmdk before
}

d1=$T/disk-000001-delta.vmdk d2=$T/disk-000002-delta.vmdk d3=$T/disk-000003-sesparse.vmdk
forgotten "$d1, $d2, $d3 (" "$d3"
forgotten "$d1, $d2 (" "$d2"
forgotten "$d2, $d3 (" "$d1" "$d3"
forgotten "$d1, $d2 (" "$d2" "$d3"
reads_right delta=disk-000001-delta.vmdk delta=disk-000002-delta.vmdk delta=disk-000003-sesparse.vmdk; silent
# The oldest: an older state of the disk is nothing strange.
reads_right delta=disk-000001-delta.vmdk; silent
# Who says so gets it.
filter_sees A file disk-flat.vmdk delta=disk-000003-sesparse.vmdk delta-follow=false; silent
"$TOOL" info "$d3" > info
grep -Fq "delta=$d1 delta=$d2 delta=$d3" info || { cat info; fail 'info does not name all'; }
grep -Fq "vmdkdelta apply $d1 $d2 $d3 BASE" info || fail 'info does not name all'

# A parent that the user names for it.
printf '# Disk DescriptorFile\nCID=1\nRW 128 VMFS "disk-flat.vmdk"\n' > disk.vmdk
sees A disk-000003-sesparse.vmdk parent=disk.vmdk
warns "by their names there are deltas between them: $d1, $d2, $d3"
rm disk.vmdk

# Copies keep the number; the descriptor of an older one is the better name for it.
mkdir c
cp disk-000002-delta.vmdk c/disk-000002-delta.vmdk
for name in 'Copy of DISK-000001-delta.vmdk' 'disk-000001-delta (1).vmdk' 'disk-000001-delta.vmdk.bak'; do
    cp disk-000001-delta.vmdk "c/$name"
    forgotten "$T/c/$name, $T/c/disk-000002-delta.vmdk (" "$T/c/disk-000002-delta.vmdk"
    rm "c/$name"
done
child c/disk-000001.vmdk 2 fffffffe
forgotten "$T/c/disk-000001.vmdk, $T/c/disk-000002-delta.vmdk (" "$T/c/disk-000002-delta.vmdk"
rm c/disk-000001*

# Of another disk: another stem, another size; or no delta at all; or a copy of itself.
cd c
cp ../disk-000001-delta.vmdk disk_1-000001-delta.vmdk
cp ../disk-000001-delta.vmdk old-disk-000001-delta.vmdk
"$MKIMAGE" make cowd disk-000001-delta.vmdk --capacity=128K --fill=100
cp ../right disk-000001-flat.vmdk
cp disk-000002-delta.vmdk 'disk-000002-delta (2).vmdk'
: > disk-000000-delta.vmdk
filter_sees A file ../disk-flat.vmdk delta=disk-000002-delta.vmdk; silent

# Without a number nothing tells which is older: said, not refused.
mv disk-000002-delta.vmdk newest.vmdk
rm disk-000002*
filter_sees A file ../disk-flat.vmdk delta=newest.vmdk
warns 'could be deltas of the same disk' disk_1-000001-delta.vmdk
"$TOOL" info newest.vmdk > info
grep -Fq 'could be deltas of the same disk' info || fail 'info says nothing'
