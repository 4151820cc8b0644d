#!/bin/bash
# Deltas given newest first, with parents that can be found: the message says that the
# order is wrong, as it does where parents are not followed.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/test-chain-disks.sh"
need filter nbdinfo

letters Z > raw
base base.vmdk 1 A
child s1.vmdk 2 1 "$(hint base.vmdk)"
child s2.vmdk 3 2 "$(hint s1.vmdk)"
child s3.vmdk 4 3 "$(hint s2.vmdk)"
for options in delta-follow=false delta-follow=true; do
    filter_refused file raw delta=s2.vmdk delta=s1.vmdk $options
    says "$T/s1.vmdk was made on content 00000001" "$T/s2.vmdk has content 00000003" \
        'the order is wrong (oldest first)'
    filter_refused file raw delta=s3.vmdk delta=s2.vmdk delta=s1.vmdk $options
    says 'order is wrong (oldest first)'
done
