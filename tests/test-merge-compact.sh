#!/bin/bash
# merge --compact: the disk reads as before, QEMU finds no error, and what is zeros takes
# no room.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/merge.sh"
need tool plugin xz nbdcopy qemu-img qemu-io

# The child has zeros over half of what the base holds, and over what nobody holds.
qemu-img create -q -f vmdk -o subformat=monolithicSparse disk.vmdk 8M
qemu-io -f vmdk -c 'write -P 1 0 4M' disk.vmdk > io
qemu-img create -q -f vmdk -b disk.vmdk -F vmdk top.vmdk
qemu-io -f vmdk -c 'write -P 0 1M 2M' -c 'write -P 0 5M 2M' -c 'write -P 7 4000k 300k' top.vmdk > io
want=$(digest top.vmdk)
for option in '' --compact; do
    rm -rf vm; mkdir vm; cp disk.vmdk top.vmdk vm
    "$TOOL" merge $option vm/top.vmdk
    [ "$(digest vm/disk.vmdk)" = "$want" ] || fail "the disk reads otherwise, $option"
    qemu-img check -f vmdk vm/disk.vmdk
    [ "$(qemu-img convert -f vmdk -O raw vm/disk.vmdk q.raw; sha256sum < q.raw)" = "$want" ] ||
        fail "QEMU reads something else, $option"
    [ "$option" ] || plain=$(stat -c %s vm/disk.vmdk)
done
# At least the 2 MiB of zeros that nobody held before are not stored.
compact=$(stat -c %s vm/disk.vmdk)
[ $compact -le $((plain - (2 << 20))) ] || fail "$compact bytes, without --compact $plain"

unpack vb-vdi-tiny-2
"$TOOL" merge --quiet --compact "${chain[-1]}"
[ "$(digest "${chain[0]}")" = "${digests[-1]}" ] || fail 'the VDI reads otherwise'
qemu-img check -f vdi "${chain[0]}"

# ---- A machine: all of its Normal bases, also where nothing is to be merged ---------

# zeros FILE: what a disk has that holds 1 MiB, and stores 4 MiB of zeros.
zeros () { qemu-io -f vdi -c 'write -q -P 9 0 1M' -c 'write -q -P 0 1M 4M' "$1" > io; }
# add FILE TYPE PORT: a disk without snapshots, attached since the last of them.
add () {
    qemu-img create -q -f vdi "$T/vm/$1" 8M
    zeros "$T/vm/$1"
    sed -i "s,</HardDisks>,<HardDisk uuid=\"{$(image_uuid "$T/vm/$1")}\" location=\"$1\" format=\"VDI\" type=\"$2\"/>\n&,
        s,^        </StorageController>,<AttachedDevice type=\"HardDisk\" port=\"$3\" device=\"0\"><Image uuid=\"{$(image_uuid "$T/vm/$1")}\"/></AttachedDevice>\n&," "$T/vm/m.vbox"
}
fresh () {
    rm -rf "$T/vm"; cp -r . "$T/vm"
    make_machine "$T/vm/m.vbox" "${#chain[@]}" "${chain[@]}"
    add more.vdi Normal 5
}
unpack vb-vdi-tiny-2
fresh
"$TOOL" merge --compact "$T/vm/m.vbox" > out
cat out
grep -qx 'compact 2 disks: .* -> .*' out || fail 'the sizes are not told'
[ "$(digest "$T/vm/${chain[0]}")" = "${digests[-1]}" ] || fail 'the machine reads otherwise'
most=$(((1 << 20) + (2 << 20)))  # the tables, and one block
[ "$(stat -c %s "$T/vm/more.vdi")" -lt $most ] || fail 'a disk without snapshots is not compacted'

# Again, when the guest has written zeros.  No file is left, and the machine file stays.
for how in 'merge --compact' compact; do
    zeros "$T/vm/more.vdi"
    before=$(stat -c %s "$T/vm/more.vdi") sum=$(sha256sum "$T/vm/m.vbox") want=$(digest "$T/vm/more.vdi")
    files=$(ls -A "$T/vm")
    "$TOOL" $how --dry-run "$T/vm/m.vbox" > out
    [ "$(stat -c %s "$T/vm/more.vdi")" = "$before" ] || fail "$how --dry-run wrote"
    grep -q '2 disks: .* -> ' out || fail "$how --dry-run: $(cat out)"
    "$TOOL" $how "$T/vm/m.vbox" > out
    grep -q '2 disks: .* -> .*, on the file system .* -> ' out || fail "$how: $(cat out)"
    [ "$(stat -c %s "$T/vm/more.vdi")" -lt $most ] || fail "$how does not compact"
    [ "$(digest "$T/vm/more.vdi")" = "$want" ] || fail 'the disk reads otherwise'
    [ "$(sha256sum "$T/vm/m.vbox")" = "$sum" ] || fail "$how rewrote the machine file"
    [ "$(ls -A "$T/vm")" = "$files" ] || fail "$how left $(ls -A "$T/vm")"
    zeros "$T/vm/more.vdi"
    "$TOOL" $how --json "$T/vm/m.vbox" > json
    grep -q "\"size-before\": $(($(stat -c %s "$T/vm/${chain[0]}") + before))" json || fail "$how --json: $(cat json)"
    [ "$(stat -c %s "$T/vm/more.vdi")" -lt $most ] || fail "$how --json does not compact"
done
grep -q 'compact more: ' <("$TOOL" compact "$T/vm/m.vbox") || fail 'compact does not name the disks'
[ -z "$("$TOOL" merge --quiet --compact "$T/vm/m.vbox")" ] || fail 'not quiet'

# One disk; with a new snapshot, which stands on what is compacted.
zeros "$T/vm/more.vdi"
"$TOOL" merge --quiet --compact --disk=base "$T/vm/m.vbox"
[ "$(stat -c %s "$T/vm/more.vdi")" -gt $most ] || fail '--disk is not regarded'
"$TOOL" merge --compact --snapshot=clean "$T/vm/m.vbox" > out
grep -q '^compact 2 disks: ' out || fail "--snapshot: $(cat out)"
[ "$(stat -c %s "$T/vm/more.vdi")" -lt $most ] || fail '--snapshot does not compact'
grep -q 'name="clean"' "$T/vm/m.vbox"
for file in "$T/vm/Snapshots"/*.vdi; do "$TOOL" check --chain "$file"; done

# With snapshots: what stands on a base reads as before.
"$TOOL" compact "$T/vm/m.vbox" > out
for file in "$T/vm/Snapshots"/*.vdi; do "$TOOL" check --chain "$file"; done

# Others than Normal ones stay, with a warning; so does all that is in use, or another's.
fresh
sed -i '/more.vdi/s/Normal/Immutable/' "$T/vm/m.vbox"
sum=$(sha256sum "$T/vm/more.vdi")
"$TOOL" compact "$T/vm/m.vbox" > out 2> err
grep -q 'warning: more.vdi is of type Immutable and is not compacted' err || fail "$(cat err)"
[ "$(sha256sum "$T/vm/more.vdi")" = "$sum" ] || fail 'an immutable disk was compacted'
fresh
( exec 3<> "$T/vm/more.vdi"
  expect_fail 'is open for writing in another program' "$TOOL" compact "$T/vm/m.vbox" )
mv "$T/vm/more.vdi" "$T/more.vdi"
sums=$(sha256sum "$T/vm"/*)
expect_fail 'more\.vdi' "$TOOL" compact "$T/vm/m.vbox"
cp "$T/vm/${chain[0]}" "$T/vm/more.vdi"
expect_fail 'more\.vdi should have UUID' "$TOOL" compact "$T/vm/m.vbox"
rm "$T/vm/more.vdi"
[ "$(sha256sum "$T/vm"/*)" = "$sums" ] || fail 'a disk was compacted before all were found'
expect_fail 'output is for one disk' "$TOOL" compact --output="$T/new.vdi" "$T/vm/m.vbox"

# An interrupted merge comes first: its steps name bytes that compaction changes.  Completed
# with --compact, the other disks are compacted too.
if command -v strace > /dev/null; then
    fresh
    ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0 strace -f -qq -o "$T/trace" -e trace=unlink,unlinkat \
        -e inject=unlink,unlinkat:signal=KILL:when=1+ "$TOOL" merge --compact "$T/vm/m.vbox" > "$T/log" 2>&1 || :
    [ -e "$T/vm/.m.vbox.vmdkdelta-merge" ] || fail 'no journal was left'
    before=$(stat -c %s "$T/vm/more.vdi")
    # Whether by the machine, its directory, or a file that it has still to change or to remove.
    for name in m.vbox '' "${chain[@]}"; do
        [ -z "$name" ] || [ -e "$T/vm/$name" ] || continue
        expect_fail 'a merge of .*m\.vbox was interrupted: complete it first: vmdkdelta merge .*m\.vbox' "$TOOL" compact "$T/vm/$name"
    done
    [ "$(stat -c %s "$T/vm/more.vdi")" = "$before" ] || fail 'something was compacted'
    "$TOOL" merge --compact "$T/vm/m.vbox" > out
    grep -q '^compact 2 disks: ' out || fail "completed: $(cat out)"
    [ "$(stat -c %s "$T/vm/more.vdi")" -lt $most ] || fail 'not compacted after it was completed'
    [ "$(digest "$T/vm/${chain[0]}")" = "${digests[-1]}" ] || fail 'completed, it reads otherwise'

    # Of a chain, the child that stays has no mark, but is to get another parent; other disks
    # beside it are no concern of the merge.
    rm -rf "$T/c"; mkdir "$T/c"; cd "$T/c"
    qemu-img create -q -f vmdk base.vmdk 4M
    for n in 1 2 3; do
        qemu-img create -q -f vmdk -b "$([ $n = 1 ] && echo base || echo s$((n - 1))).vmdk" -F vmdk s$n.vmdk
        qemu-io -f vmdk -c "write -q -P $n ${n}M 64k" s$n.vmdk > io
    done
    qemu-img create -q -f vmdk other.vmdk 4M
    want=$(digest s3.vmdk)
    ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0 strace -f -qq -o "$T/trace" -e trace=pwrite64 -e inject=pwrite64:signal=KILL:when=10+ \
        "$TOOL" merge --skip=1 --threads=1 s3.vmdk > "$T/log" 2>&1 || :
    [ -e .base.vmdk.vmdkdelta-merging ] || fail 'no mark was left'
    sums=$(sha256sum ./*.vmdk)
    for file in base s1; do expect_fail 'Complete that merge first: vmdkdelta merge --skip=1 ' "$TOOL" compact $file.vmdk; done
    [ "$(sha256sum ./*.vmdk)" = "$sums" ] || fail 'a file with a mark was compacted'
    ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0 strace -f -qq -o "$T/trace" -e trace=unlink,unlinkat -e inject=unlink,unlinkat:signal=KILL:when=1+ \
        "$TOOL" merge --skip=1 s3.vmdk > "$T/log" 2>&1 || :
    [ -e .s3.vmdk.vmdkdelta-merge ] || fail 'no journal was left'
    sums=$(sha256sum ./*.vmdk)
    for file in base s1 s2 s3; do
        [ -e $file.vmdk ] || continue
        expect_fail "complete it.*vmdkdelta merge .*s3\.vmdk" "$TOOL" compact $file.vmdk
        expect_fail "complete it.*vmdkdelta merge .*s3\.vmdk" "$TOOL" compact --dry-run $file.vmdk
    done
    [ "$(sha256sum ./*.vmdk)" = "$sums" ] || fail 'a file of the merge was compacted'
    "$TOOL" compact --quiet other.vmdk
    "$TOOL" merge --quiet s3.vmdk
    [ "$(digest s3.vmdk)" = "$want" ] || fail 'completed, s3.vmdk reads otherwise'
    for file in base s3; do "$TOOL" compact --quiet $file.vmdk; done
    [ "$(digest s3.vmdk)" = "$want" ] || fail 'compacted, s3.vmdk reads otherwise'
fi
