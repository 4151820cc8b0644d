#!/bin/bash
# Clients: fio's nbd engine.  It reads at random, several requests at a time, and
# verifies what it reads against what it has written to the base before.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/drive/served.sh"
need fio qemu-img
[[ $(fio --enghelp) = *$'\n'*nbd* ]] || skip 'this fio has no nbd engine'

# The content carries its place, so that a block from another place is an error.
job=(--name=merged --size=4M --bs=4k --verify=crc32c --verify_fatal=1 --randseed=7 --output=fio.log)
fio "${job[@]}" --ioengine=psync --filename=base.raw --rw=write --do_verify=0
printf '# Disk DescriptorFile\nversion=1\nCID=01234567\nparentCID=ffffffff\ncreateType="vmfs"\nRW 8192 VMFS "base.raw"\n' > disk.vmdk
cp base.raw whole.raw
delta x cowd --parent=disk.vmdk
# The delta's sectors hold noise; write what fio knows instead: a base with holes, and a
# delta that holds what is missing.
rm base.raw x.vmdk x-cowd.vmdk
truncate -s 4M base.raw
for ((i = 0; i < 64; i += 2)); do
    dd if=whole.raw of=base.raw bs=64K skip=$i seek=$i count=1 conv=notrunc status=none
done
"$TOOL" create --from base.raw --to whole.raw --format=cowd x.vmdk > create.log
sed -i 's/^parentCID=.*/parentCID=01234567/; s/^parentFileNameHint=.*/parentFileNameHint="disk.vmdk"/' x.vmdk
! cmp -s base.raw whole.raw || fail 'the delta is empty'
sha256sum base.raw disk.vmdk x*.vmdk > sums

read_it () {
    fio "${job[@]}" --ioengine=nbd --uri="$uri" --rw=randread --iodepth=16 --verify_only=0 --do_verify=1 ||
        { cat fio.log; fail "$server"; }
    grep -q 'err= 0' fio.log || { cat fio.log; fail "$server: errors"; }
}
for_both read_it
