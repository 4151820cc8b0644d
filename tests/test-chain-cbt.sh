#!/bin/bash
# Changed block tracking (version=3, changeTrackPath) does not matter to a reader, nor
# do keys and types that nobody knows; the -ctk file is not needed.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/test-chain-disks.sh"
need filter nbdinfo

base a.vmdk 1 A 'changeTrackPath="a-ctk.vmdk"' 'encoding="windows-1252"'
child s.vmdk 2 1 "$(hint a.vmdk)" '# Change Tracking File' 'changeTrackPath="s-ctk.vmdk"' 'future.key = "1"'
for v in 1 2 3 4; do
    sed -i "s/^version=.*/version=$v/; s/^createType=.*/createType=\"someType$v\"/" a.vmdk s.vmdk
    sees A s.vmdk
    silent
done
letters Z > raw
filter_sees Z file raw delta=s.vmdk
silent

# In a directory, a -ctk file is not a disk.
mkdir d
mv ./*.vmdk d
head -c 4096 /dev/urandom > d/a-ctk.vmdk
printf '\242\162\031\366' | dd of=d/a-ctk.vmdk conv=notrunc status=none
start "$PLUGIN" dir=d
[ "$(exports)" = 'a.vmdk s.vmdk ' ] || fail "$(exports)"
