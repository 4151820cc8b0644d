#!/bin/bash
# Which deltas fit which base: CIDs against the descriptor beside a flat file,
# the one of --base, the one of the delta's hint; --ignore-cid; a base given as
# a delta, missing parents, several deltas in every order.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need tool mkimage

# delta NAME PARENT CID PARENT-CID SEED
delta () {
    "$MKIMAGE" make cowd "$1-x.vmdk" --capacity=1M --grain=4K --fill=40 --descriptor="$1.vmdk" \
        --parent="$2" --cid="$3" --parent-cid="$4" --seed="$5"
}
# base DESCRIPTOR CID FLAT
base () {
    printf '# Disk DescriptorFile\nversion=1\nCID=%s\nparentCID=ffffffff\ncreateType="vmfs"\nRW 2048 VMFS "%s"\n' \
        "$2" "$3" > "$1"
}
head -c 1M /dev/urandom > original
mkdir in out
# The deltas are in "in"; their parents by hint are not there at first.
cd in
delta vm-000001 vm.vmdk 00000002 00000001 1
delta vm-000002 vm-000001.vmdk 00000003 00000002 2
delta vm-000003 vm-000002.vmdk 00000004 00000003 3
cd ..
cp original target

take () {
    cp original "${*: -1}"
    "$TOOL" apply --quiet "$@" 2> err || { cat err; fail "not taken: $*"; }
    ! cmp -s original "${*: -1}" || fail "nothing written: $*"
}
refuse () {
    local regex=$1 target=${*: -1}
    shift
    cp original "$target"
    expect_fail "$regex" "$TOOL" apply --undo=undo.vmdk "$@"
    same original "$target"
    [ ! -e undo.vmdk ] || fail "an undo file: $*"
}
both='00000001.*deadbeef'

# ---- No descriptor at all: taken, with a warning -------------------------------

take in/vm-000001.vmdk target
grep -q 'warning: the base that was given is taken for the parent.*unchecked' err

# ---- --base --------------------------------------------------------------------

base good.vmdk 00000001 target
base bad.vmdk deadbeef target
take --base=good.vmdk in/vm-000001.vmdk target
refuse "$both" --base=bad.vmdk in/vm-000001.vmdk target
grep -q 'bad.vmdk' "$T/output" && grep -q 'in/vm-000001.vmdk' "$T/output" || fail "the files are not named"
take --ignore-cid --base=bad.vmdk in/vm-000001.vmdk target
refuse 'none.vmdk' --base=none.vmdk in/vm-000001.vmdk target
refuse 'original' --base=original in/vm-000001.vmdk target

# ---- Beside a flat file -----------------------------------------------------------

base out/disk.vmdk 00000001 disk-flat.vmdk
take in/vm-000001.vmdk out/disk-flat.vmdk
base out/disk.vmdk deadbeef disk-flat.vmdk
refuse "$both" in/vm-000001.vmdk out/disk-flat.vmdk
take --ignore-cid in/vm-000001.vmdk out/disk-flat.vmdk
# --base says which one counts.
take --base=good.vmdk in/vm-000001.vmdk out/disk-flat.vmdk
# Another name: it is not asked.
take in/vm-000001.vmdk out/disk.raw

# ---- Where the delta's own hint leads ------------------------------------------------

base in/vm.vmdk 00000001 vm-flat.vmdk
take in/vm-000001.vmdk target
! grep -q unchecked err || fail "the base was there, and is said to be unchecked"
base in/vm.vmdk deadbeef vm-flat.vmdk
refuse "$both" in/vm-000001.vmdk target
take --ignore-cid in/vm-000001.vmdk target
# Its size counts too, if only for a warning.
sed -i 's/deadbeef/00000001/; s/2048/4096/' in/vm.vmdk
take in/vm-000001.vmdk target
grep -q 'warning:.*1048576.*2097152' err || { cat err; fail "a base of another size: no warning"; }
sed -i 's/4096/2048/' in/vm.vmdk

# ---- No deltas -------------------------------------------------------------------------

refuse 'in/vm.vmdk is not a delta' in/vm.vmdk target
refuse 'is not a delta' in/vm.vmdk in/vm-000001.vmdk target
refuse 'none.vmdk' none.vmdk target
refuse . original target

# ---- Several: parents come along, or not ---------------------------------------------------

take in/vm-000001.vmdk in/vm-000002.vmdk in/vm-000003.vmdk target
mv target all
take in/vm-000003.vmdk target
same target all
take in/vm-000002.vmdk in/vm-000003.vmdk target
same target all
# One by one, as they were made.
cp original target
for i in 1 2 3; do "$TOOL" apply --quiet --no-follow in/vm-00000$i.vmdk target 2> err; done
same target all

# Any other order is no chain.
for order in '1 3 2' '2 1' '2 1 3' '3 1' '3 2' '3 2 1' '1 3'; do
    files=()
    for i in $order; do files+=("in/vm-00000$i.vmdk"); done
    refuse 'was made on content|the chain loops' "${files[@]}" target
done
refuse 'is the same file as one given before' in/vm-000001.vmdk in/vm-000001.vmdk target
refuse 'is the same file as one given before' in/vm-000001.vmdk in/vm-000002.vmdk in/vm-000001.vmdk target

# A snapshot between is missing.
mv in/vm-000002* out/
refuse 'is a snapshot too, and it is missing.*--no-follow' in/vm-000003.vmdk target
take --no-follow in/vm-000003.vmdk target
take --parent-path=out --parent-path=in in/vm-000003.vmdk target
same target all
mv out/vm-000002* in/
mv in/vm-000002-x.vmdk in/away
refuse 'vm-000002-x.vmdk' in/vm-000003.vmdk target
mv in/away in/vm-000002-x.vmdk

# A chain that bites its tail.
sed -i 's/parentFileNameHint="vm.vmdk"/parentFileNameHint="vm-000003.vmdk"/; s/^parentCID=00000001/parentCID=00000004/' in/vm-000001.vmdk
refuse 'loops' in/vm-000003.vmdk target
