#!/bin/bash
# The undo file of a flat file beside its descriptor can be applied as apply says.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need tool mkimage
head -c 1M /dev/urandom > original
cp original x-flat.vmdk
printf '# Disk DescriptorFile\nversion=1\nCID=00000001\nparentCID=ffffffff\ncreateType="vmfs"\nRW 2048 VMFS "x-flat.vmdk"\n' > x.vmdk
"$MKIMAGE" make cowd d-delta.vmdk --capacity=1M --descriptor=d.vmdk --parent=x.vmdk --parent-cid=00000001 --cid=00000002
"$TOOL" apply --undo=undo.vmdk d.vmdk x-flat.vmdk > out
command=$(sed -n 's/.*to undo everything: vmdkdelta //p' out)
# shellcheck disable=SC2086
"$TOOL" $command
same original x-flat.vmdk
