#!/bin/bash
# VirtualBox's VDI are checked too: blocks that are not in the file, cut, or stored in
# one place with another.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need tool xz qemu-img qemu-io

tar -xf "$top_srcdir/tests/data/vb-vdi-tiny-2.tar.xz"
for f in vb-vdi-tiny-2/*.vdi; do
    "$TOOL" check "$f" > out || fail "$f: $(cat out)"
    grep -q 'clean (VDI; [0-9]* grains' out || fail "$(cat out)"
done

qemu-img create -q -f vdi a.vdi 4M
qemu-io -f vdi -c 'write -P 1 0 4M' a.vdi > /dev/null
"$TOOL" check a.vdi > out
grep -q 'clean (VDI; 4 grains' out || fail "$(cat out)"

# poke ENTRY VALUE: of the block map, whose place is at byte 340 of the header.
map=$(od -An -tu4 -j 340 -N 4 a.vdi)
poke () { printf "\\x$2\\0\\0\\0" | dd of=b.vdi bs=1 seek=$((map + 4 * $1)) conv=notrunc status=none; }
damaged () {
    local status=0
    "$TOOL" check b.vdi > out || status=$?
    [ $status = 3 ] || fail "status $status: $(cat out)"
    grep -Fq "$1" out || fail "not said: $1: $(cat out)"
}
cp a.vdi b.vdi
poke 2 63
damaged 'block 2 is stored at 99, but the file has only 4 blocks'
damaged 'disk bytes 2097152 to 3145727'
cp a.vdi b.vdi
poke 2 01
damaged 'block 2 is stored at 1, where another block is too'
cp a.vdi b.vdi
truncate -s -1000 b.vdi
damaged 'block 3 has 1047576 of 1048576 bytes'
