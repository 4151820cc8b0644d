#!/bin/bash
# A flat extent of at most 1 MiB (a small disk, the last piece of a split one) into which
# the guest wrote a descriptor and zeros is still data, and no export of its own.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/test-chain-disks.sh"
need nbdinfo

mkdir vm
base vm/disk.vmdk 1 A
base vm/other.vmdk 2 B
printf '# Disk DescriptorFile\nCID=1\nRW 128 FLAT "other-flat.vmdk"\n' > text
dd if=text of=vm/disk-flat.vmdk conv=notrunc status=none
printf 'KDMV' | dd of=vm/other-flat.vmdk conv=notrunc status=none
# As small as a descriptor can be, padded with zeros.
truncate -s 512 text
cp text vm/tiny-flat.vmdk
printf '# Disk DescriptorFile\nCID=3\nRW 1 FLAT "tiny-flat.vmdk"\n' > vm/tiny.vmdk

start "$PLUGIN" dir=vm base-format=raw
[ "$(exports)" = 'disk.vmdk other.vmdk tiny.vmdk ' ] || fail "exports: $(exports)"
nbdcopy "nbd+unix:///disk.vmdk?socket=$sock" out
same out vm/disk-flat.vmdk
