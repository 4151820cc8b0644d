#!/bin/bash
# vmdkdelta snapshot makes an empty child, which the products read and write; a disk that
# has one already, or whose parents are missing, is refused.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need tool plugin qemu-img qemu-io

qemu-img create -q -f vmdk disk.vmdk 10M
qemu-io -f vmdk -c 'write -q -P 1 0 1M' disk.vmdk
cp disk.vmdk before.img

"$TOOL" snapshot disk.vmdk > out
grep -qx 'Created disk-000001.vmdk, an empty child of disk.vmdk' out || fail "$(cat out)"
"$TOOL" snapshot disk-000001.vmdk > out
grep -q 'Created disk-000002.vmdk' out || fail "$(cat out)"
"$TOOL" snapshot disk-000002.vmdk sub.vmdk > /dev/null
cmp disk.vmdk before.img || fail 'the parent was changed'
for f in disk-000001 disk-000002 sub; do
    qemu-img check -q $f.vmdk || fail "QEMU finds errors in $f.vmdk"
    "$TOOL" check --chain $f.vmdk > out || fail "$(cat out)"
done
qemu-img info --backing-chain sub.vmdk | grep -c '^image:' > n
[ "$(cat n)" -eq 4 ] || fail 'QEMU does not see the chain'
qemu-io -f vmdk -c 'write -q -P 2 64k 64k' -c 'read -q -P 1 0 64k' sub.vmdk || fail 'QEMU cannot write it'
[ "$(od -An -tu1 -j4 -N1 sub.vmdk)" -eq 1 ] || fail 'it is not of version 1, which VirtualBox wants'
echo 'VMDK: three children, one on the other'

refuse () {  # TEXT ARGUMENT...
    local text=$1; shift
    ! "$TOOL" snapshot "$@" > out 2> err || fail "snapshot $* is not refused"
    grep -q -- "$text" err || fail "snapshot $*: $(cat err)"
    [ ! -s out ] || fail "it prints something: $(cat out)"
}
refuse 'disk-000001.vmdk was made on it' disk.vmdk
refuse 'disk-000001.vmdk was made on it' disk.vmdk other.vmdk
[ ! -e other.vmdk ] || fail 'a refused child is there'
refuse 'exists' sub.vmdk before.img
refuse 'which disk' < /dev/null
mkdir alone
cp sub.vmdk alone/
refuse 'not found' alone/sub.vmdk
qemu-img create -q -f raw raw.img 1M
refuse 'raw.img' raw.img
echo 'refused: parents, names that are taken, chains that are not complete'

# The other formats.
qemu-img create -q -f vmdk -o subformat=twoGbMaxExtentSparse split.vmdk 5M
"$TOOL" snapshot split.vmdk > out
grep -q 'split-000001.vmdk' out || fail "$(cat out)"
qemu-img create -q -f vmdk -o subformat=monolithicFlat flat.vmdk 5M
"$TOOL" snapshot flat.vmdk > /dev/null
qemu-img check -q flat-000001.vmdk || fail 'flat: QEMU finds errors in the child'
qemu-img convert -O vdi disk.vmdk machine.vdi
mkdir vdi; mv machine.vdi vdi/
"$TOOL" snapshot vdi/machine.vdi > out
child=$(sed -n 's/^Created \(.*{.*}\.vdi\), .*/\1/p' out)
[ "$child" ] || fail "$(cat out)"
"$TOOL" check --chain "$child" > out || fail "$(cat out)"
nbdkit -U - "$PLUGIN" "$child" write=true \
    --run 'qemu-io -f raw -c "write -q -P 3 1M 10k" -c "read -q -P 1 0 1M" "$uri"' || fail 'VDI: not written'
nbdkit -U - "$PLUGIN" "$child" --run 'qemu-io -r -f raw -c "read -q -P 3 1M 10k" -c "read -q -P 1 0 1M" "$uri"' ||
    fail 'VDI: not there'
echo 'split, flat, VDI'
