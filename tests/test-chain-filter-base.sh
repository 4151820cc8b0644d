#!/bin/bash
# The filter follows parents as far as they are deltas.  The first that is not one is
# the base: the export takes its place, and only its CID is looked at.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/test-chain-disks.sh"
need filter nbdinfo

letters Z > raw
base base.vmdk 11111111 A
child s1.vmdk 2 11111111 "$(hint base.vmdk)"
child s2.vmdk 3 2 "$(hint s1.vmdk)"
filter_sees Z file raw delta=s2.vmdk; silent
filter_sees Z file raw delta=s1.vmdk delta=s2.vmdk; silent

# Its data is not needed, only the descriptor.
mv base-flat.vmdk away
filter_sees Z file raw delta=s2.vmdk; silent
refused s2.vmdk
says "$T/base.vmdk" "refers to base-flat.vmdk" 'No such file'
mv away base-flat.vmdk

# Another CID: the disk was used since.
sed -i s/11111111/99999999/ base.vmdk
filter_refused file raw delta=s2.vmdk
says "$T/s1.vmdk was made on content 11111111" "$T/base.vmdk has content 99999999"
filter_sees Z file raw delta=s2.vmdk delta-ignore-cid=true
warns "$T/s1.vmdk was made on content 11111111, but $T/base.vmdk has content 99999999; going on as asked"
filter_sees Z file raw delta=s1.vmdk delta=s2.vmdk delta-follow=false; silent

# No base here: a warning, and on.
rm base.vmdk
filter_sees Z file raw delta=s2.vmdk
warns "warning: " "is taken for the parent of $T/s1.vmdk, unchecked: parent 'base.vmdk' of $T/s1.vmdk not found" \
    "looked in $T for: base.vmdk"
[ "$(grep -c warning log)" = 1 ] || fail "$(cat log)"
filter_sees Z file raw delta=s1.vmdk delta=s2.vmdk delta-follow=false; silent

# A base that is something else altogether is not ignored.
head -c 4096 /dev/urandom > base.vmdk
printf 'QFI\373' | dd of=base.vmdk conv=notrunc status=none
filter_refused file raw delta=s2.vmdk
says "the parent 'base.vmdk' of $T/s1.vmdk: $T/base.vmdk is a qcow image: convert it (qemu-img convert -O raw)"
filter_sees Z file raw delta=s1.vmdk delta-follow=false; silent
