#!/bin/bash
# What clients are told: read-only, several connections, cache, block sizes, and which
# parts are holes, which stay holes in a copy.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/test-chain-disks.sh"
need nbdinfo qemu-io

M=1048576
truncate -s $((64 * M)) flat.raw
qemu-io -f raw -c "write -P 1 4M 1M" -c "write -P 2 40M 1M" flat.raw > log
printf '# Disk DescriptorFile\nCID=1\nRW 131072 FLAT "flat.raw"\n' > base.vmdk
"$MKIMAGE" make kdmv d.vmdk --capacity=64M --grain=128K --count=20 --embedded --cid=2 --parent-cid=1 --parent=base.vmdk
start "$PLUGIN" d.vmdk
nbdinfo --json "$uri" > info
for want in '"is_read_only": true' '"can_multi_conn": true' '"can_cache": true' '"can_zero": false' '"can_trim": false' \
            '"can_flush": false' '"can_fua": false' '"block_size_minimum": 1' '"block_size_preferred": 131072' \
            '"block_size_maximum": 4294967295' '"export-size": 67108864' '"base:allocation"'; do
    grep -Fq "$want" info || fail "no $want: $(cat info)"
done
nbdcopy "$uri" out.raw
[ "$(($(stat -c %b out.raw) / 2048))" -le 8 ] || fail "the copy is not sparse: $(stat -c %b out.raw) blocks"
expect_fail . qemu-io -f raw -c 'write 0 512' "$uri"

# The base alone: its own holes, no more.
nbdinfo --map "nbd+unix:///base.vmdk?socket=$sock" | awk '{ print $1, $2, $3 }' > map
printf '%s\n' "0 $((4 * M)) 3" "$((4 * M)) $M 0" "$((5 * M)) $((35 * M)) 3" "$((40 * M)) $M 0" \
    "$((41 * M)) $((23 * M)) 3" | cmp - map || fail "$(cat map)"
nbdcopy "nbd+unix:///base.vmdk?socket=$sock" out.raw
same out.raw flat.raw

# In a map of the child, zeros are zeros and the rest is where the data is.
nbdcopy "$uri" out.raw
nbdinfo --map "$uri" | awk '$3 >= 2 { print $1, $2 }' > zeros
[ -s zeros ] || fail 'no zeros in the map'
while read -r offset length; do
    cmp -n "$length" -i "$offset:0" out.raw /dev/zero
done < zeros
