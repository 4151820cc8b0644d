#!/bin/bash
# Block status: data, holes and zeros where they are; copies stay sparse.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/drive/fixture.sh"
need filter mkimage nbdcopy nbdinfo qemu-img

# One data grain at 1 MiB, one grain of zeros over data at 2 MiB; the base has data
# in [0, 64K) and [2M, 3M), and a hole elsewhere.
truncate -s 4M base.raw
head -c 64K /dev/urandom | dd of=base.raw conv=notrunc status=none
head -c 1M /dev/urandom | dd of=base.raw bs=1M seek=2 conv=notrunc status=none
"$MKIMAGE" make kdmv x.vmdk --capacity=4M --fill=0 --zero=100 --embedded --parent-cid=01234567
cp base.raw expected.raw
# A table of one delta: entry 16 gets a grain at the end of the file, entry 32 zeros.
table=$(($(peek32 x.vmdk $(($(peek32 x.vmdk 56) * 512))) * 512))
end=$(stat -c %s x.vmdk)
end=$(((end + 65535) / 65536 * 65536))
truncate -s $end x.vmdk
head -c 64K /dev/urandom > grain
cat grain >> x.vmdk
le32 () { printf '%02x %02x %02x %02x' $(($1 & 255)) $(($1 >> 8 & 255)) $(($1 >> 16 & 255)) $(($1 >> 24)); }
poke x.vmdk $((table + 16 * 4)) $(le32 $((end / 512)))
poke x.vmdk $((table + 32 * 4)) 01 00 00 00
poke x.vmdk 4 02
poke x.vmdk 8 "$(printf %02x $(($(peek32 x.vmdk 8) & 255 | 4)))"
dd if=grain of=expected.raw bs=64K seek=16 conv=notrunc status=none
dd if=/dev/zero of=expected.raw bs=64K seek=32 count=1 conv=notrunc status=none

serve file base.raw delta=x.vmdk
nbdinfo --map "$uri" | awk '{ print $1, $2, $3 }' > map
cat > expected.map <<'MAP'
0 65536 0
65536 983040 3
1048576 65536 0
1114112 1048576 3
2162688 983040 0
3145728 1048576 3
MAP
same expected.map map

qemu-img map -f raw --output=json "$uri" | grep -o '"start": [0-9]*, "length": [0-9]*, .*"zero": [a-z]*' |
    sed 's/"start": \([0-9]*\), "length": \([0-9]*\),.*"zero": true/\1 \2 3/
         s/"start": \([0-9]*\), "length": \([0-9]*\),.*"zero": false/\1 \2 0/' > qemu.map
same expected.map qemu.map

nbdcopy "$uri" out.raw
same expected.raw out.raw
used=$(($(stat -c '%b * %B' out.raw)))
[ $used -le $((1200 * 1024)) ] || fail "the copy takes $used bytes"
