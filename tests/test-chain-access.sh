#!/bin/bash
# Every extent line of a base counts: flat with an offset, ZERO, RDONLY (read like
# RW), NOACCESS (zeros, with a warning), sparse; and a child over all of them.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need plugin filter mkimage nbdcopy nbdinfo

M=1048576
head -c $((4 * M)) /dev/urandom > noise.raw
"$MKIMAGE" make kdmv s.vmdk --capacity=1M --fill=100 --content=noise --raw=s.raw
cat > base.vmdk <<'END'
# Disk DescriptorFile
version=1
CID=0000abcd
parentCID=ffffffff
createType="custom"
RW 2048 FLAT "noise.raw" 2048
RW 2048 ZERO
RDONLY 2048 FLAT "noise.raw" 0
NOACCESS 2048 FLAT "noise.raw" 4096
RDONLY 2048 SPARSE "s.vmdk"
NOACCESS 2048 ZERO
RW 1024 FLAT "noise.raw" 7168
END
{
    dd if=noise.raw bs=$M skip=1 count=1 status=none
    head -c $M /dev/zero
    dd if=noise.raw bs=$M count=1 status=none
    head -c $M /dev/zero
    cat s.raw
    head -c $M /dev/zero
    dd if=noise.raw bs=512 skip=7168 count=1024 status=none
} > base.raw
nbdkit "$PLUGIN" base.vmdk --run "nbdcopy \"\$uri\" '$T/out.raw'" 2> log
same out.raw base.raw
for line in 9 11; do
    grep -q "warning: $T/base.vmdk line $line: 1048576 bytes are marked NOACCESS and read as zeros" log ||
        fail "no warning of line $line: $(cat log)"
done
[ "$(grep -c warning log)" = 2 ] || fail "more warnings: $(cat log)"

# The child: 1 MiB present, then ZERO (which hides), then nothing present.
"$MKIMAGE" make cowd c1.vmdk --capacity=1M --fill=100 --content=noise --seed=2 --raw=c1.raw
"$MKIMAGE" make cowd c3.vmdk --capacity=4608K --fill=0 --seed=3
cat > child.vmdk <<'END'
# Disk DescriptorFile
version=1
CID=0000beef
parentCID=abcd
createType="vmfsSparse"
parentFileNameHint="base.vmdk"
RW 2048 VMFSSPARSE "c1.vmdk"
RW 2048 ZERO
RW 9216 VMFSSPARSE "c3.vmdk"
END
{ cat c1.raw; head -c $M /dev/zero; tail -c +$((2 * M + 1)) base.raw; } > expected.raw
nbdkit "$PLUGIN" child.vmdk --run "nbdcopy \"\$uri\" '$T/out.raw'"
same out.raw expected.raw
nbdkit_run file base.raw delta=child.vmdk --run "nbdcopy \"\$uri\" '$T/out.raw'"
same out.raw expected.raw

# A child may have NOACCESS too: zeros, not the base.
sed 's/^RW 9216/NOACCESS 9216/; s/0000beef/0000beee/' child.vmdk > child2.vmdk
head -c $((2 * M)) expected.raw > expected2.raw
truncate -s $((6 * M + M / 2)) expected2.raw
nbdkit_run file base.raw delta=child2.vmdk --run "nbdcopy \"\$uri\" '$T/out.raw'" 2> log
same out.raw expected2.raw
grep -q "child2.vmdk line 9: 4718592 bytes are marked NOACCESS" log || fail "no warning: $(cat log)"

# A flat extent that ends behind its file: the disk lacks what the file lacks, and writers refuse it.
sed 's/"noise.raw" 7168/"noise.raw" 7169/' base.vmdk > long.vmdk
start "$PLUGIN" long.vmdk 2> log
grep -q 'noise.raw is 4194304 bytes long.* from byte 3670528 on.*the 512 bytes at its end are lost' log || fail "$(cat log)"
last=$(($(nbdinfo --size "$uri") - 512))
"$builddir/tests/read-range" "$uri" $((last - 512)) 512 > /dev/null
expect_fail 'Input/output error' "$builddir/tests/read-range" "$uri" $last 512
stop
