#!/bin/bash
# A child of another size than its parent: a warning with both sizes.  The child's size
# counts, and past the end of the parent there are zeros.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/test-chain-disks.sh"

# resized FILE CID SECTORS PARENTCID LINE: a child with nothing in it.
resized () {
    "$MKIMAGE" make cowd "${1%.vmdk}-delta.vmdk" --capacity=$(($3 * 512)) --fill=0
    printf 'CID=%s\nparentCID=%s\n%s\nRW %s VMFSSPARSE "%s-delta.vmdk"\n' \
        "$2" "$4" "$5" "$3" "${1%.vmdk}" | sed '1i # Disk DescriptorFile' > "$1"
}
read_it () { nbdkit "$PLUGIN" "$1" --run "nbdcopy \"\$uri\" '$T/out.raw'" 2> log; }

base a.vmdk 1 A
resized big.vmdk 2 200 1 "$(hint a.vmdk)"
resized small.vmdk 3 100 1 "$(hint a.vmdk)"
resized top.vmdk 4 150 3 "$(hint small.vmdk)"

letters A > expected.raw
truncate -s $((200 * 512)) expected.raw
read_it big.vmdk
same out.raw expected.raw
grep -Fq "warning: $T/big.vmdk has 102400 bytes, its parent $T/a.vmdk has 65536" log || fail "$(cat log)"

head -c $((100 * 512)) expected.raw > expected2.raw
read_it small.vmdk
same out.raw expected2.raw
grep -Fq "warning: $T/small.vmdk has 51200 bytes, its parent $T/a.vmdk has 65536" log || fail "$(cat log)"

# What the small one cuts off does not come back above it.
truncate -s $((150 * 512)) expected2.raw
read_it top.vmdk
same out.raw expected2.raw
grep -Fq "warning: $T/top.vmdk has 76800 bytes, its parent $T/small.vmdk has 51200" log || fail "$(cat log)"

# Over a raw base that is as small: the filter's own rule.
need filter nbdinfo
head -c 65536 expected.raw > raw
filter_refused file raw delta=big.vmdk
says 'the base has 65536 bytes' "$T/big.vmdk is for a disk of 102400 bytes" 'delta-allow-short-base=true'
nbdkit_run file raw delta=big.vmdk delta-allow-short-base=true --run "nbdcopy \"\$uri\" '$T/out.raw'"
same out.raw expected.raw
