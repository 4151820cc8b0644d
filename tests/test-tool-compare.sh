#!/bin/bash
# compare: equal disks of every kind, the first of several differences and the file that it
# comes from, sizes, holes, statuses.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need tool mkimage filter nbdcopy

# A base and two deltas, and what the filter says that they are.
head -c 8M /dev/urandom > vm-flat.vmdk
dd if=/dev/zero of=vm-flat.vmdk bs=1M seek=6 count=1 conv=notrunc status=none
printf '# Disk DescriptorFile\nversion=1\nCID=00000001\nparentCID=ffffffff\ncreateType="vmfs"\nRW 16384 VMFS "vm-flat.vmdk"\n' > vm.vmdk
"$MKIMAGE" make cowd d1-delta.vmdk --capacity=8M --grain=4K --fill=20 --descriptor=d1.vmdk \
    --parent=vm.vmdk --parent-cid=00000001 --cid=00000002 --seed=1
"$MKIMAGE" make sesparse d2-sesparse.vmdk --capacity=8M --fill=20 --zero=10 --descriptor=d2.vmdk \
    --parent=d1.vmdk --parent-cid=00000002 --cid=00000003 --seed=2
nbdkit_run file vm-flat.vmdk delta=d1.vmdk delta=d2.vmdk --run 'nbdcopy "$uri" want'

compare () {  # STATUS ARGS...
    local status=0
    "$TOOL" compare "${@:2}" > out 2> err || status=$?
    [ $status = "$1" ] || { cat out err; fail "status $status: compare ${*:2}"; }
}
says () { grep -Eq -e "$1" out || { cat out; fail "not said: $1"; }; }

# ---- Equal -----------------------------------------------------------------------

compare 0 d2.vmdk want
says '^equal, 8 MiB \(8388608 bytes\)'
compare 0 want d2.vmdk
compare 0 vm.vmdk vm-flat.vmdk
compare 0 --quiet d2.vmdk want
[ ! -s out ] || fail '--quiet'
start --filter="$FILTER" file vm-flat.vmdk delta=d1.vmdk delta=d2.vmdk
served=$uri
start file want
for n in 1 3 16; do
    compare 0 --threads=$n d2.vmdk "$uri"
    compare 0 --threads=$n "$served" "$uri"
done
stop
stop

# ---- Different: the first place, and whose it is -------------------------------------

# Where each layer, and none, has its first byte.
"$TOOL" map --json d2.vmdk > map
where () { perl -MJSON::PP -e 'local $/; for (@{decode_json (<STDIN>)}) { if ($_->{depth} == $ARGV[0] && $_->{kind} eq "data") { print $_->{start}; exit } }' "$1" < map; }
for case in 0:d2.vmdk 1:d1.vmdk 2:vm.vmdk; do
    at=$(where "${case%%:*}")
    cp want bad
    byte=$(od -An -tu1 -j "$at" -N 1 want)
    # And another difference behind it, in all the pieces that threads take.
    printf "\\x$(printf %02x $((byte ^ 1)))" | dd of=bad bs=1 seek="$at" conv=notrunc status=none
    printf xyz | dd of=bad bs=1 seek=8388605 conv=notrunc status=none
    for n in 1 2 7; do
        compare 3 --threads=$n d2.vmdk bad
        says "^different, first at byte $at:"
        says "source .* d2.vmdk" 
        [ "${case##*:}" = d2.vmdk ] || says "source .*from .*${case##*:}"
        compare 3 --threads=$n --json bad d2.vmdk
        says "\"offset\": *$at\\b"
        says "\"target-file\": *\".*${case##*:}\""
    done
done
for at in 0 8388607; do
    cp want bad
    byte=$(od -An -tu1 -j "$at" -N 1 want)
    printf "\\x$(printf %02x $((byte ^ 128)))" | dd of=bad bs=1 seek="$at" conv=notrunc status=none
    compare 3 d2.vmdk bad
    says "first at byte $at:"
    says "0x$(printf %02x $((byte)))   d2.vmdk"
    says "0x$(printf %02x $((byte ^ 128)))   bad"
done
# In many pieces at a time: the last byte of the first one, which is found last, and the
# first bytes of others.
head -c 41943041 /dev/zero > a
cp --sparse=never a b
for at in 8388607 8388608 16777216 25165824 33554432 41943040; do
    printf x | dd of=b bs=1 seek=$at conv=notrunc status=none
done
for n in 1 2 6 16; do
    compare 3 --threads=$n a b
    says 'first at byte 8388607:'
done
cp --sparse=never a b
printf x | dd of=b bs=1 seek=41943040 conv=notrunc status=none
compare 3 a b
says 'first at byte 41943040:'
rm a b
# A hole against data, both ways.
truncate -s 8M hole
cp hole data
printf x | dd of=data bs=1 seek=5000000 conv=notrunc status=none
compare 3 hole data
says 'first at byte 5000000:'
compare 3 data hole
says 'first at byte 5000000:'

# ---- Sizes ------------------------------------------------------------------------------

cp want larger
printf 'what a device has more' >> larger
compare 0 d2.vmdk larger
says 'target is larger by 22 bytes, which were not compared'
compare 3 larger d2.vmdk
says 'first at byte 8388608:'
says 'target  ends'
head -c 8388000 want > smaller
compare 3 d2.vmdk smaller
says 'first at byte 8388000:'
# What both have as holes is not read.
truncate -s 4T a b
compare 0 --json a b
says '"read": *0\b'
printf x | dd of=b bs=1 seek=4398046511103 conv=notrunc status=none
compare 3 a b
says 'first at byte 4398046511103:'

# ---- What cannot be compared --------------------------------------------------------------

compare 2
compare 2 d2.vmdk
compare 2 d2.vmdk want want
compare 2 --threads=0 d2.vmdk want
compare 1 d2.vmdk none
: > empty
compare 1 empty want
grep -q 'empty is empty, so it cannot say what want should hold' err || { cat err; fail 'an empty source'; }
compare 3 want empty
compare 1 d1-delta.vmdk want
# Damage is an error, and not a difference.
head -c 300000 d1-delta.vmdk > cut
mv cut d1-delta.vmdk
compare 1 d2.vmdk want
grep -q 'd1-delta.vmdk' err || { cat err; fail 'a cut delta'; }
