#!/bin/bash
# Images of qemu-img are clean, as qemu-img says itself; a grain out of the file
# is found by both.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need tool qemu-img

for format in monolithicSparse streamOptimized twoGbMaxExtentSparse monolithicFlat; do
    qemu-img create -q -f raw raw 20M
    dd if=/dev/urandom of=raw bs=64K count=7 seek=11 conv=notrunc status=none
    qemu-img convert -f raw -O vmdk -o subformat=$format raw $format.vmdk
    "$TOOL" check --verbose $format.vmdk > out || fail "$format: $(cat out)"
    grep -q ': clean' out || fail "$format: $(cat out)"
    [ "$(grep -c . out)" = 1 ] || fail "more than one line: $(cat out)"
done
qemu-img check -q -f vmdk monolithicSparse.vmdk

qemu-img create -q -f vmdk -b monolithicSparse.vmdk -F vmdk child.vmdk
qemu-io -f vmdk -c 'write -P 7 1M 300k' -c 'write -z 4M 64k' child.vmdk > /dev/null
"$TOOL" check --chain child.vmdk > out || { cat out; fail 'a child of QEMU'; }

# The first table entry that is not 0: overHead has the first data, or the file.
size=$(stat -c %s monolithicSparse.vmdk)
gd=$(od -An -tu8 -j 56 -N 8 monolithicSparse.vmdk | tr -d ' ')
gt=$(od -An -tu4 -j $((gd * 512)) -N 4 monolithicSparse.vmdk | tr -d ' ')
i=0
while [ "$(od -An -tu4 -j $((gt * 512 + 4 * i)) -N 4 monolithicSparse.vmdk | tr -d ' ')" = 0 ]; do
    i=$((i + 1))
done
cp monolithicSparse.vmdk bad.vmdk
printf '\x00\x00\x00\x10' | dd of=bad.vmdk bs=1 seek=$((gt * 512 + 4 * i)) conv=notrunc status=none
expect_fail 'grain-outside-file \(1\)' "$TOOL" check bad.vmdk
grep -q "offset $((i * 65536)), length 65536" "$T/output"
grep -q 'redundant-differs (1)' "$T/output"
expect_fail . qemu-img check -f vmdk bad.vmdk
