#!/bin/bash
# The undo file: made before anything is written, never instead of another
# file, never over one that was made before; it fits the target that it was
# made for, and holds zeros as zeros.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need tool mkimage

make () {  # NAME OPTIONS...
    "$MKIMAGE" make cowd "$1-delta.vmdk" --capacity=1M --grain=4K "${@:2}" --descriptor="$1.vmdk" \
        --parent=base.vmdk --parent-cid=12345678
}
make a --cid=00000001 --seed=1
make b --cid=00000002 --seed=2
head -c 1M /dev/urandom > original
dd if=/dev/zero of=original bs=64K seek=3 count=4 conv=notrunc status=none
fresh original target
digest=$(sha256 target)

apply () { "$TOOL" apply --quiet "$@" 2> err || { cat err; fail "apply $*"; }; }
untouched () { [ "$(sha256 target)" = "$digest" ] || fail "$1: the target was touched"; }

# ---- A file of that name ------------------------------------------------------

echo "something else" > foreign
cp a.vmdk descriptor.vmdk
: > empty
mkdir directory
for name in foreign descriptor.vmdk empty directory a-delta.vmdk target; do
    [ -d $name ] || cp $name kept
    expect_fail "$name" "$TOOL" apply --undo=$name a.vmdk target
    untouched "$name"
    [ -d $name ] || same $name kept
done
expect_fail 'No such file' "$TOOL" apply --undo=nowhere/u.vmdk a.vmdk target
untouched nowhere

# That of other deltas.
apply --undo=b-undo.vmdk b.vmdk target
apply b-undo.vmdk target
untouched "b and back"
cp b-undo.vmdk kept
expect_fail "b-undo.vmdk exists, and is not the undo file of these deltas" \
    "$TOOL" apply --undo=b-undo.vmdk a.vmdk target
untouched "the undo file of others"
same b-undo.vmdk kept
expect_fail "b-undo.vmdk exists, and is not the undo file of these deltas" \
    "$TOOL" apply --ignore-cid --undo=b-undo.vmdk a.vmdk b.vmdk target

# ---- Nothing is made when nothing is done --------------------------------------

apply --dry-run --undo=u.vmdk a.vmdk target
[ ! -e u.vmdk ] || fail "a dry run makes an undo file"
untouched "dry run"

# ---- There and back -------------------------------------------------------------

apply --undo=u.vmdk a.vmdk target
[ "$(sha256 target)" != "$digest" ] || fail "nothing was written"
cp u.vmdk kept
after=$(sha256 target)
# The same again, as after an interruption: the file is kept.
"$TOOL" apply --undo=u.vmdk a.vmdk target > out 2> err
grep -q "u.vmdk (kept from an earlier run)" out
same u.vmdk kept
[ "$(sha256 target)" = "$after" ]
apply --verify u.vmdk target
untouched "there and back"

# Both at once, and one by one: the undo files are applied newest first.
apply --undo=u-a.vmdk a.vmdk target
# (Both were made on the same base.)
apply --ignore-state --undo=u-b.vmdk b.vmdk target
apply u-b.vmdk target
apply u-a.vmdk target
untouched "two, one by one"
apply --no-follow --ignore-cid --undo=u-both.vmdk a.vmdk b.vmdk target
apply u-both.vmdk target
untouched "two at once"

# Zeros of the original come back as holes, not as data, where there are many.
make large --cid=00000003 --runs=32 --fill=40
truncate -s 1M sparse
apply --undo=u-sparse.vmdk large.vmdk sparse
[ "$(du -k sparse | cut -f 1)" -gt 100 ]
apply u-sparse.vmdk sparse
cmp -n 1048576 sparse /dev/zero
[ "$(du -k sparse | cut -f 1)" -lt 16 ] || fail "the undo file writes zeros: $(du -k sparse)"
[ "$(stat -c %s u-sparse.vmdk)" -lt 200000 ] || fail "zeros are stored"

# An undo file is a delta as any other.
"$TOOL" info u.vmdk > out
grep -q KDMV out
"$TOOL" check u.vmdk > out || { cat out; fail "check of the undo file"; }
