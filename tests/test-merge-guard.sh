#!/bin/bash
# What a merge may not touch: files that descriptors name but that are something else,
# what other links are made of, what was changed meanwhile; and what it refuses before
# it writes anything.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/merge.sh"
need tool plugin nbdcopy qemu-img qemu-io strace

fresh () { rm -rf "$T/vm"; mkdir "$T/vm"; cd "$T/vm"; }

# base SUBFORMAT, then child NAME PARENT [SIZE]
base () {
    fresh
    qemu-img create -q -f vmdk -o subformat="$1" base.vmdk 8M
    qemu-io -f vmdk -c 'write -P 1 0 8M' base.vmdk > /dev/null
}
child () {
    qemu-img create -q -f vmdk -b "$2" -F vmdk "$1" ${3+"$3"}
    qemu-io -f vmdk -c 'write -P 7 1M 1M' "$1" > /dev/null
}
sums () { find . -type f -exec sha256sum {} + | sort; }

# refused MESSAGE ARGS...: and nothing at all has changed.
refused () {
    sums > "$T/before"
    expect_fail "$1" "$TOOL" merge "${@:2}"
    sums > "$T/after"
    cmp "$T/before" "$T/after" || fail 'something was written or removed'
}

# Change tracking that is called like something else stays; --keep keeps all.
for name in thesis.pdf base-flat.vmdk a.vmdk; do
    base monolithicFlat
    echo precious > thesis.pdf
    child a.vmdk base.vmdk
    sed -i "s/^CID=/changeTrackPath=\"$name\"\n&/" base.vmdk
    "$TOOL" merge --quiet --keep a.vmdk
    [ -e "$name" ] || fail "--keep: $name was removed"
    [ -e base-flat.vmdk ]
done
precious=(thesis.pdf thesis.vmdk ./-ctk.vmdk sub/x-ctk.vmdk ../x-ctk.vmdk)
for name in thesis.pdf thesis.vmdk -ctk.vmdk sub/x-ctk.vmdk ../x-ctk.vmdk link-ctk.vmdk; do
    for in in base a; do
        base monolithicFlat
        mkdir sub
        for file in "${precious[@]}"; do echo precious > "$file"; done
        ln -s thesis.pdf link-ctk.vmdk
        qemu-img create -q -f vmdk -o subformat=twoGbMaxExtentSparse -b base.vmdk -F vmdk a.vmdk
        sed -i "s,^CID=,changeTrackPath=\"$name\"\n&," $in.vmdk
        "$TOOL" merge --quiet a.vmdk
        for file in "${precious[@]}" link-ctk.vmdk; do
            [ "$(cat "$file")" = precious ] || fail "$in.vmdk names $name: $file was removed"
        done
        [ -e base-flat.vmdk ] || fail 'the file of the base was removed'
        [ ! -e a.vmdk ] || fail 'a.vmdk is still there'
    done
done
# One that is called like change tracking goes.
base monolithicFlat
child a.vmdk base.vmdk
echo changes > base-ctk.vmdk
sed -i 's/^CID=/changeTrackPath="base-ctk.vmdk"\n&/' base.vmdk
"$TOOL" merge --quiet a.vmdk
[ ! -e base-ctk.vmdk ] || fail 'the change tracking stayed'

# A "child" whose extent is a document, the base's own file, or a link to that.
evil () {
    cat > evil.vmdk <<END
# Disk DescriptorFile
version=1
CID=12345678
parentCID=$(sed -n 's/^CID=//p' base.vmdk)
createType="monolithicFlat"
parentFileNameHint="base.vmdk"
RW 16384 FLAT "$1" 0
END
}
base monolithicFlat; head -c 8M /dev/zero | tr '\0' x > thesis.pdf; evil thesis.pdf
refused 'thesis.pdf is a flat file' evil.vmdk
evil base-flat.vmdk
refused 'evil.vmdk and .*base.vmdk are made of the same file' --keep evil.vmdk
refused 'flat file|the same file' evil.vmdk
ln base-flat.vmdk other.vmdk; evil other.vmdk
refused 'made of the same file' --keep evil.vmdk

# One whose extent is that of another disk, or all of another disk.
borrow () { evil "$1"; sed -i 's/^RW 16384 FLAT \(.*\) 0$/RW 16384 SPARSE \1/' evil.vmdk; }
base monolithicSparse
qemu-img create -q -f vmdk -o subformat=twoGbMaxExtentSparse victim.vmdk 8M
borrow victim-s001.vmdk
refused 'victim-s001.vmdk is a file of .*evil.vmdk, but of .*victim.vmdk too, and would be removed' evil.vmdk
mkdir sub
mv victim* sub
borrow sub/victim-s001.vmdk
refused 'sub/victim-s001.vmdk is a file of .*evil.vmdk, but of .*sub/victim.vmdk too' evil.vmdk
qemu-img create -q -f vmdk whole.vmdk 8M
borrow whole.vmdk
refused 'whole.vmdk is a file of .*evil.vmdk, but of .*whole.vmdk too' evil.vmdk
"$TOOL" merge --quiet --keep evil.vmdk
[ -e whole.vmdk ]
base monolithicFlat; child a.vmdk base.vmdk
sed 's/^CID=.*/CID=01020304/' base.vmdk > copy.vmdk
"$TOOL" merge --quiet a.vmdk 2> err
grep -q 'base-flat.vmdk is a file of .*copy.vmdk too: what is merged into it shows there' err || fail "no warning: $(cat err)"

# A second child by name and CID, as QEMU and VMware see it, whatever its UUID says.
base monolithicFlat
sed -i 's/^#DDB/&\nddb.uuid.image="11111111-1111-4111-8111-111111111111"/' base.vmdk
for name in a b; do qemu-img create -q -f vmdk -o subformat=twoGbMaxExtentSparse -b base.vmdk -F vmdk $name.vmdk; done
sed -i 's/^#DDB/&\nddb.uuid.parent="22222222-2222-4222-8222-222222222222"/' b.vmdk
refused 'base.vmdk has more than one child, .*a.vmdk and .*b.vmdk' a.vmdk

# A child above that did not fit before does not look as if it did afterwards.
base monolithicSparse; child a.vmdk base.vmdk; child b.vmdk a.vmdk
qemu-io -f vmdk -c 'write -P 9 7M 64k' a.vmdk > /dev/null
refused 'b.vmdk was made on content .*, but .*a.vmdk has content' a.vmdk

# Dropping the newest, with one left on top that another stands on.
base monolithicSparse; child a.vmdk base.vmdk; child b.vmdk a.vmdk; child c.vmdk b.vmdk
child branch.vmdk b.vmdk
refused 'b.vmdk has more than one child, .*c.vmdk and .*branch.vmdk' --discard-current --yes --skip=1 c.vmdk

# A link smaller than those above and below is not made larger; further down is right.
base monolithicSparse; child a.vmdk base.vmdk 4M; child b.vmdk a.vmdk 8M
want=$(digest b.vmdk)
refused 'a.vmdk has 4194304 bytes, less than .*b.vmdk above and .*base.vmdk below' --count=1 b.vmdk
"$TOOL" merge --quiet b.vmdk
[ "$(digest base.vmdk)" = "$want" ] || fail 'another disk'

# A directory in which nothing can be removed: not found out at the end.
nobody=()
[ "$(id -u)" != 0 ] || nobody=(setpriv --inh-caps=-all --bounding-set=-all)
if [ "$(id -u)" != 0 ] || setpriv --bounding-set=-all true 2> /dev/null; then
    base monolithicSparse; child a.vmdk base.vmdk
    chmod 555 .
    sums > "$T/before"
    expect_fail 'nothing was written: .*files in it cannot be replaced' "${nobody[@]}" "$TOOL" merge a.vmdk
    sums > "$T/after"
    chmod 755 .
    cmp "$T/before" "$T/after" || fail 'something was written'
fi

# Cut off in front of the first removal; then somebody writes to what would go.
base monolithicSparse; child a.vmdk base.vmdk
killed () {
    strace -f -qq -o /dev/null -e trace=unlink -e inject=unlink:signal=KILL:when=1 \
        "$TOOL" merge --quiet a.vmdk > /dev/null 2>&1 || true
    [ -e .a.vmdk.vmdkdelta-merge ] || fail 'no journal was left'
}
killed
cp -p a.vmdk "$T/a.vmdk"
qemu-io -f vmdk -U -c 'read 0 512' a.vmdk > /dev/null 2>&1 || true
dd if=/dev/zero of=a.vmdk bs=1 seek=100000 count=1 conv=notrunc status=none
expect_fail 'vmdkdelta-merge .*give it up, remove that file.*a.vmdk was changed by another' "$TOOL" merge a.vmdk
[ -e a.vmdk ] || fail 'it was removed with what was written to it'
cat "$T/a.vmdk" > a.vmdk; touch -r "$T/a.vmdk" a.vmdk
# Open for writing, in a machine that was started.
exec 9<> a.vmdk
expect_fail 'a.vmdk is open for writing' "$TOOL" merge a.vmdk
exec 9>&-
"$TOOL" merge --quiet a.vmdk
[ -z "$(find . -name 'a.vmdk' -o -name '.*vmdkdelta*')" ] || fail 'not completed'

# The same while the data is merged: the file is written to when the target is flushed.
base monolithicSparse; child a.vmdk base.vmdk
# (At each flush it is stopped, and goes on when we have looked.)
unclean () { [ "$(od -An -tu1 -j 72 -N 1 base.vmdk | tr -d ' ')" != 0 ]; }
strace -f -qq -o "$T/calls" -e trace=fsync -e inject=fsync:signal=STOP \
    "$TOOL" merge --quiet --threads=1 a.vmdk > "$T/out" 2>&1 &
pid=$! seen=0 touched=
while kill -0 $pid 2> /dev/null; do
    stops=$(grep -c 'stopped by SIGSTOP' "$T/calls" 2> /dev/null || :)
    if [ "${stops:-0}" -gt $seen ]; then
        seen=$stops
        if [ -z "$touched" ] && unclean; then touch a.vmdk; touched=1; fi
        kill -CONT "$(awk '{ print $1; exit }' "$T/calls")"
    fi
    sleep 0.02
done
[ "$touched" ] || fail 'the target was never marked as unclean at a flush'
if wait $pid; then fail 'it was not noticed'; fi
grep -q 'merged, but not completed: .*a.vmdk was changed' "$T/out" || { cat "$T/out"; fail 'another message'; }
[ -e a.vmdk ]
[ ! -e .a.vmdk.vmdkdelta-merge ]
"$TOOL" merge --quiet a.vmdk
[ ! -e a.vmdk ]
