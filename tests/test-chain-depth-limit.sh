#!/bin/bash
# 255 links are the limit: so many are read, one more is refused.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/test-chain-disks.sh"
need filter nbdinfo

# Descriptors alone make the links: they can share an extent without data.
"$MKIMAGE" make cowd empty.vmdk --capacity=64K --fill=0
base d1.vmdk 1 A
for ((i = 2; i <= 257; i++)); do
    printf '# Disk DescriptorFile\nCID=%x\nparentCID=%x\n%s\nRW 128 VMFSSPARSE "empty.vmdk"\n' \
        $i $((i - 1)) "$(hint d$((i - 1)).vmdk)" > d$i.vmdk
done
sees A d255.vmdk
silent
refused d256.vmdk
says "the chain of $T/d256.vmdk has more than 255 links"

# Over a raw base, only deltas count.
letters Z > raw
filter_sees Z file raw delta=d256.vmdk
silent
filter_refused file raw delta=d257.vmdk
says "the chain of $T/d257.vmdk has more than 255 links"
deltas=()
for ((i = 2; i <= 257; i++)); do deltas+=(delta=d$i.vmdk); done
filter_sees Z file raw "${deltas[@]::255}" delta-follow=false
filter_refused file raw "${deltas[@]}" delta-follow=false
says 'more than 255 deltas'
