#!/bin/bash
# The content of a flat extent belongs to the guest.  If the guest writes a descriptor
# into its first sectors, that is still data, and in a directory no export of its own.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/test-chain-disks.sh"
need nbdinfo

mkdir vm
base vm/disk.vmdk 1 A
base vm/other.vmdk 2 B
printf '# Disk DescriptorFile\nCID=1\nRW 128 FLAT "other-flat.vmdk"\n' > text
dd if=text of=vm/disk-flat.vmdk conv=notrunc status=none
printf 'KDMV' | dd of=vm/other-flat.vmdk conv=notrunc status=none

# What begins like an image is not served as flat data unless the user says so, and never
# as the image that it seems to be.
start "$PLUGIN" dir=vm
[ "$(exports)" = 'disk.vmdk ' ] || fail "exports: $(exports)"
stop
start "$PLUGIN" dir=vm base-format=raw
[ "$(exports)" = 'disk.vmdk other.vmdk ' ] || fail "exports: $(exports)"
nbdcopy "nbd+unix:///disk.vmdk?socket=$sock" out
same out vm/disk-flat.vmdk
