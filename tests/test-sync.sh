#!/bin/bash
# sync: a target is brought to the newest frozen state of a disk, everything the first time and
# then what is new, each byte once; the file that the machine writes is not read before --final;
# and what happens when the source was reverted or its snapshots were deleted meanwhile.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need tool mkimage filter nbdcopy nbdkit:filter:log perl

size=16M
delta () {  # NAME PARENT PARENT-CID CID SEED [FORMAT]
    local format=${6:-cowd} name=$1-delta.vmdk grain=(--grain=4K)
    if [ "$format" != cowd ]; then name=$1-$format.vmdk grain=(); fi
    "$MKIMAGE" make "$format" "$name" --capacity=$size "${grain[@]}" \
        --fill=${fill:-10} --descriptor="$1.vmdk" --parent="$2" --parent-cid="$3" --cid="$4" --seed="$5"
}
head -c $size /dev/urandom > vm-flat.vmdk
dd if=/dev/zero of=vm-flat.vmdk bs=1M seek=3 count=5 conv=notrunc status=none
printf '# Disk DescriptorFile\nversion=1\nCID=00000001\nparentCID=ffffffff\ncreateType="vmfs"\nRW 32768 VMFS "vm-flat.vmdk"\n' > vm.vmdk
model () {  # TO FROM DELTA...
    local to=$1 from=$2 d deltas=()
    shift 2
    for d; do deltas+=(delta="$d"); done
    nbdkit_run file "$from" "${deltas[@]}" delta-follow=false --run "nbdcopy \"\$uri\" $to"
}
# sync ARGS...: status 0; what it said is in "out".
sync () { "$TOOL" sync "$@" > out 2> err || { cat out err; fail "status $?: sync $*"; }; }
says () { grep -Eq -e "$1" out || { cat out; fail "not said: $1"; }; }
refused () {  # REGEX ARGS...
    local status=0
    cp t was
    "$TOOL" sync "${@:2}" > out 2> err || status=$?
    [ $status = 1 ] || [ $status = 2 ] || { cat out err; fail "status $status: sync ${*:2}"; }
    grep -Eq -e "$1" err || { cat err; fail "not said: $1"; }
    same was t
}
field () { perl -MJSON::PP -e 'local $/; my $v = decode_json (<STDIN>)->{disks}[0]{$ARGV[0]}; print $v // "none"' "$1" < out; }

# At least one byte, at most one unit of comparison.
few () {
    local n
    n=$(field written-bytes)
    if [ "$n" -lt 1 ] || [ "$n" -gt 4096 ]; then fail "$n bytes were written"; fi
}

# ---- From the base to the end ------------------------------------------------------

"$TOOL" sync vm.vmdk t > out 2> err && fail 'nothing is frozen'
grep -q 'has no snapshot: the machine writes to it' err
[ ! -e t ] || fail 'a target of nothing'

delta d1 vm.vmdk 00000001 00000002 1
sync --dry-run d1.vmdk t
says 'dry run: nothing was written'
[ ! -e t ] || fail 'a dry run makes the target'
# The machine writes to its newest file: it is not looked into, and need not be there.
mv d1-delta.vmdk away
sync d1.vmdk t
mv away d1-delta.vmdk
same t vm-flat.vmdk
says 'd1.vmdk \(the machine writes to it: it is not read\)'
[ "$(stat -c %b t)" -lt $((14 * 2048)) ] || fail 'holes became data'

stamp () { stat -c '%Y %y %Z %z' t t.vmdkdelta-state; }
before=$(stamp)
sync d1.vmdk t
says 'nothing was written'
[ "$before" = "$(stamp)" ] || fail 'an unchanged source: something was written'

delta d2 d1.vmdk 00000002 00000003 2 sesparse
model c1 vm-flat.vmdk d1.vmdk
sync --json d2.vmdk t
same t c1
[ "$(field mode)" = links ] || fail "mode $(field mode)"
[ "$(field data-bytes)" = "$(field written-bytes)" ] || fail 'more or less than the delta was written'
before=$(stamp)
sync --json d2.vmdk t
[ "$(field written-bytes)" = 0 ] || fail 'written'
[ "$before" = "$(stamp)" ] || fail 'the second time'
sync --dry-run d2.vmdk t
says 'stop .*d2.vmdk holds'

# What the machine is said to use has a snapshot on it: then it is frozen too.
model c2 c1 d2.vmdk
delta d3 d2.vmdk 00000003 00000004 3
sync d2.vmdk t
says 'newer .*d3.vmdk'
same t c2
refused 'd2.vmdk is not the end: .*d3.vmdk was made on it' --final d2.vmdk t

# The end.
model c3 c2 d3.vmdk
sync --final --verify d3.vmdk t
same t c3
says 'verified'
# It could have been written to since, under the same name: so it is compared.
sync --final --json d3.vmdk t
[ "$(field written-bytes)" = 0 ] || fail 'the same end: something was written'
sync d3.vmdk t
says 'holds the end of the source already; nothing was written'
printf x | dd of=d3-delta.vmdk bs=1 seek="$(($(stat -c %s d3-delta.vmdk) - 100))" conv=notrunc status=none
model c3x c2 d3.vmdk
cmp -s c3 c3x && fail 'the test changed nothing'
sync --final --json d3.vmdk t
few
same t c3x

# ---- Wrong steps -----------------------------------------------------------------------

refused 'further than that' d1.vmdk t
refused 'further than that' d2.vmdk t
"$MKIMAGE" make cowd f-delta.vmdk --capacity=$size --descriptor=f.vmdk --parent=o.vmdk --parent-cid=0000000a --cid=0000000b
sed 's/00000001/0000000a/; s/vm-flat/o-flat/' vm.vmdk > o.vmdk
head -c $size /dev/urandom > o-flat.vmdk
refused 'another disk' f.vmdk t
refused 'another disk' --final f.vmdk t
rm f.vmdk
refused 'another disk' o.vmdk t --final
head -c $size /dev/urandom > other
cp other other.was
expect_fail 'holds data, and nothing is noted of it' "$TOOL" sync d2.vmdk other
same other other.was
expect_fail '--state=FILE' "$TOOL" sync d2.vmdk -- [ nbdkit file other ]
# Something else wrote to it.
cp --preserve=timestamps t t.was
printf x | dd of=t bs=1 seek=1234567 conv=notrunc status=none
refused 'written to by something else' --final d3.vmdk t
sync --final --ignore-state --json d3.vmdk t
few
same t c3x
# apply knows what sync did, and the other way round.
"$TOOL" apply --no-follow d3.vmdk t > out 2>&1
grep -q 'nothing was written' out
refused 'give --holds|no --holds' --holds=vm.vmdk d3.vmdk t

# ---- Reverted, deleted -------------------------------------------------------------------

# Back to the snapshot that froze d1: d2 and d3 are gone, and r2 is new.
mkdir gone
mv d2* d3* gone
delta r2 d1.vmdk 00000002 00000002 12
sync --json r2.vmdk t
[ "$(field mode)" = compare ] || fail "mode $(field mode)"
same t c1
[ "$(field written-bytes)" -lt $((8 << 20)) ] || fail "$(field written-bytes) bytes were written"
sync --json r2.vmdk t
[ "$(field written-bytes)" = 0 ] || fail 'the second time'
# r2 had no CID of its own when it was frozen.
delta r3 r2.vmdk 00000002 00000007 13
model cr c1 r2.vmdk
sync r3.vmdk t
same t cr
sync --json r3.vmdk t
[ "$(field written-bytes)" = 0 ] || fail 'borrowed: the second time'
# Snapshots deleted: r2 was merged into d1, which has another CID then.
"$TOOL" apply --quiet r2.vmdk vm-flat.vmdk 2> /dev/null
rm -f r2* d1* vm-flat.vmdk.vmdkdelta-state
sed -i 's/^CID=.*/CID=00000055/' vm.vmdk
sed -i 's/^parentCID=.*/parentCID=00000055/; s/r2.vmdk/vm.vmdk/' r3.vmdk
sync --json r3.vmdk t
[ "$(field mode)" = compare ] || fail "mode $(field mode)"
[ "$(field written-bytes)" = 0 ] || fail "merged: $(field written-bytes) bytes were written"
model c5 vm-flat.vmdk r3.vmdk
sync --final r3.vmdk t
same t c5
# All of them deleted.
mkdir all
cp r3* all
cp c5 vm-flat.vmdk
rm r3*
sed -i 's/^CID=.*/CID=00000066/' vm.vmdk
sync --final --json vm.vmdk t
[ "$(field mode)" = compare ] || fail "mode $(field mode)"
[ "$(field written-bytes)" = 0 ] || fail 'all deleted: something was written'

# ---- A copy in place of what cannot be read ------------------------------------------------

rm -rf -- *.vmdk t* gone all
head -c $size /dev/urandom > vm-flat.vmdk
printf '# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\ncreateType="vmfs"\nRW 32768 VMFS "vm-flat.vmdk"\n' > vm.vmdk
delta d1 vm.vmdk fffffffe 00000002 1
delta d2 d1.vmdk 00000002 00000003 2
mkdir copy
model copy/c-flat.vmdk vm-flat.vmdk d1.vmdk
sed 's/fffffffe/12345678/; s/vm-flat/c-flat/' vm.vmdk > copy/c.vmdk
mkdir lost
mv vm-flat.vmdk d1-delta.vmdk lost
expect_fail 'vm-flat.vmdk' "$TOOL" sync d2.vmdk t
[ ! -e t ] || fail 'a target although the base cannot be read'
expect_fail 'no frozen link' "$TOOL" sync --copy=d2.vmdk=copy/c.vmdk d2.vmdk t
sync --copy=d1.vmdk=copy/c.vmdk d2.vmdk t
same t copy/c-flat.vmdk
model c2 t d2.vmdk
sync --final d2.vmdk t
same t c2
# The same target, made of a copy of the base by other means.
mv lost/* .
cp vm-flat.vmdk t2
expect_fail 'no frozen link' "$TOOL" sync --holds=d2.vmdk d2.vmdk t2
sync --holds=vm.vmdk --json d2.vmdk t2
[ "$(field mode)" = links ] || fail "mode $(field mode)"
same t2 copy/c-flat.vmdk

# ---- Thirteen at once: every byte once ------------------------------------------------------

rm -rf -- *.vmdk t*
head -c $size /dev/urandom > vm-flat.vmdk
printf '# Disk DescriptorFile\nversion=1\nCID=00000100\nparentCID=ffffffff\ncreateType="vmfs"\nRW 32768 VMFS "vm-flat.vmdk"\n' > vm.vmdk
fill=30
parent=vm.vmdk
for ((i = 1; i <= 13; i++)); do
    delta d$i $parent "$(printf %08x $((255 + i)))" "$(printf %08x $((256 + i)))" $i
    parent=d$i.vmdk
done
delta d14 d13.vmdk 0000010d 0000010e 99
model c13 vm-flat.vmdk d{1..13}.vmdk
written () { perl -ne 'if (/ (Write|Zero) .*offset=0x([0-9a-f]+) count=0x([0-9a-f]+)/) { push @r, [hex $2, hex $3] }
    END { @r = sort { $a->[0] <=> $b->[0] } @r; my ($n, $end, $twice) = (0, 0, 0);
        for (@r) { $twice += $end - $_->[0] if $end > $_->[0]; $n += $_->[1]; $end = $_->[0] + $_->[1] if $_->[0] + $_->[1] > $end }
        print "$n $twice\n" }' log; }
rm -f disk
truncate -s $size disk
start --filter=log file disk logfile="$T/log"
sync --state=state d14.vmdk "$uri"
stop
same disk c13
[ "$(written)" = "$((16 << 20)) 0" ] || fail "a first copy of 13 snapshots wrote (bytes, of them twice): $(written)"
cp vm-flat.vmdk disk
rm -f log state
start --filter=log file disk logfile="$T/log"
sync --state=state --holds=vm.vmdk --json d14.vmdk "$uri"
stop
same disk c13
[ "$(written)" = "$(field data-bytes) 0" ] || fail "13 snapshots at once wrote (bytes, of them twice): $(written), not $(field data-bytes)"
[ "$(field links)" = 13 ] || fail "$(field links) links"
rm -f log
start --filter=log file disk logfile="$T/log"
sync --state=state d14.vmdk "$uri"
stop
! grep -E ' (Write|Zero|Trim|Flush) ' log || fail 'an unchanged source: something was written'
