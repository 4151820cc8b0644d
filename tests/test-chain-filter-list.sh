#!/bin/bash
# Deltas that are listed: no file twice, oldest first, and a disk without a parent is
# not a delta.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/test-chain-disks.sh"
need filter nbdinfo

letters Z > raw
base base.vmdk 1 A
child s1.vmdk 2 1 "$(hint base.vmdk)"
child s2.vmdk 3 2 "$(hint s1.vmdk)"
child s3.vmdk 4 3 "$(hint s2.vmdk)"
filter_sees Z file raw delta=s1.vmdk delta=s2.vmdk delta=s3.vmdk; silent
filter_sees Z file raw delta=s2.vmdk delta=s3.vmdk; silent

ln -s s1.vmdk link.vmdk
ln s1.vmdk hard.vmdk
for again in s1.vmdk ./s1.vmdk link.vmdk hard.vmdk "$T/s1.vmdk"; do
    filter_refused file raw delta=s1.vmdk delta="$again"
    says "$again is the same file as one given before"
done
filter_refused file raw delta=s1.vmdk delta=s2.vmdk delta=s1.vmdk
says "$T/s1.vmdk is the same file as one given before"

filter_refused file raw delta=s2.vmdk delta=s1.vmdk delta-follow=false
says "$T/s1.vmdk was made on content 00000001" 'the order is wrong (oldest first)'
filter_refused file raw delta=s1.vmdk delta=s3.vmdk
says "$T/s3.vmdk was made on content 00000003" "$T/s1.vmdk has content 00000002" 'it is the wrong file'

filter_refused file raw delta=base.vmdk delta=s1.vmdk
says "$T/base.vmdk is not a delta" 'parentCID=ffffffff' 'delta-allow-no-parent'
filter_sees A file raw delta=base.vmdk delta=s1.vmdk delta-allow-no-parent=true

# -v tells the chain.
nbdkit_run -v file raw delta=s3.vmdk --run 'nbdinfo --size "$uri"' 2> log > size
for s in s1 s2 s3; do
    grep -Fq "delta $T/$s.vmdk: COWD, 65536 bytes, 1 extents, grain 512" log || fail "no line of $s: $(cat log)"
done
grep -Fq "base $T/base.vmdk: its place is taken by" log || fail "no line of the base: $(cat log)"
[ "$(cat size)" = 65536 ] || fail "size $(cat size)"

# A base of another size than the descriptor says: what the export has counts.
head -c 40960 raw > short
filter_refused file short delta=s3.vmdk
says 'the base has 40960 bytes' "$T/s3.vmdk is for a disk of 65536 bytes" 'delta-allow-short-base=true'
{ cat raw; cat raw; } > long
nbdkit_run -v file long delta=s3.vmdk --run "nbdcopy \"\$uri\" '$T/out'" 2> log
same out raw
grep -Fq "base of 131072 bytes is cut at the delta's size of 65536" log || fail "$(cat log)"
