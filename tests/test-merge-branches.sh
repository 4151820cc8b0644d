#!/bin/bash
# A machine whose snapshots branch: it is merged down to the branch, and nothing where
# something else stands on it; the children are named, and how to go on.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/machine.sh"
. "$top_srcdir/tests/merge.sh"
need tool plugin xz nbdcopy

unpack vb-vdi-tiny-2
mkdir "$T/vm" "$T/vm/Snapshots"
fresh () { rm -rf "$T/vm"; mkdir -p "$T/vm/Snapshots"; cp "${chain[0]}" "$T/vm"; cp "${chain[@]:1}" "$T/vm/Snapshots"; }
# A second child of the base: a copy of the first with another UUID.
branch () {
    cp "$T/vm/Snapshots/${chain[1]}" "$1"
    printf '\x77' | dd of="$1" bs=1 seek=392 conv=notrunc status=none
}
top=$T/vm/Snapshots/${chain[-1]}

fresh
branch "$T/vm/Snapshots/other.vdi"
sums=$(cd "$T/vm" && find . -type f -exec sha256sum {} + | sort)
expect_fail "base\.vdi has more than one child, .*${chain[1]} and .*other\.vdi.*To merge all: remove or export one of them; nothing was written" "$TOOL" merge --skip=1 "$top"
[ "$(cd "$T/vm" && find . -type f -exec sha256sum {} + | sort)" = "$sums" ] || fail 'something was written'
# As far as it can be; then no further.
other=$(digest "$T/vm/Snapshots/other.vdi")
"$TOOL" merge "$top" > out 2> err
grep -q "warning: .*: merged down to .*${chain[1]} only: .*base\.vdi has more than one child, .*${chain[1]} and .*other\.vdi.  To merge all: remove" err || fail "$(cat err)"
[ "$(digest "$T/vm/Snapshots/${chain[1]}")" = "${digests[-1]}" ] || fail 'above the branch'
[ ! -e "$top" ] || fail 'not merged'
[ "$(digest "$T/vm/Snapshots/other.vdi")" = "$other" ] || fail 'the other branch'
[ "$(digest "$T/vm/${chain[0]}")" = "${digests[0]}" ] || fail 'below the branch'
expect_fail 'more than one child' "$TOOL" merge "$T/vm/Snapshots/${chain[1]}"
fresh
branch "$T/vm/Snapshots/other.vdi"
# Above the branch nothing is in the way.
"$TOOL" merge --quiet --count=1 "$top"
[ "$(digest "$T/vm/Snapshots/${chain[1]}")" = "${digests[-1]}" ]

# Beside the base, and where only the user knows of it.
fresh; branch "$T/vm/other.vdi"
"$TOOL" merge --dry-run "$top" 2> err > out
grep -q 'more than one child' err || fail "$(cat err)"
expect_fail 'more than one child' "$TOOL" merge --skip=1 "$top"
fresh; mkdir "$T/away"; branch "$T/away/other.vdi"
expect_fail 'more than one child' "$TOOL" merge --skip=1 --parent-path="$T/away" "$top"
rm -r "$T/away"

# In the registry of a machine, although there is no such file.
fresh
make_machine "$T/vm/m.vbox" 3 "${chain[0]}" "Snapshots/${chain[1]}" "Snapshots/${chain[2]}"
awk '/<HardDisk uuid/ && !done { print; print "<HardDisk uuid=\"{77777777-1111-4222-8333-444444444444}\" location=\"gone.vdi\" format=\"VDI\"/>"; done = 1; next } 1' \
    "$T/vm/m.vbox" > "$T/m"
mv "$T/m" "$T/vm/m.vbox"
expect_fail 'more than one child, .* and gone\.vdi \(in the registry.*if its file, which is not there, is gone for good' "$TOOL" merge --skip=1 "$T/vm/m.vbox"
"$TOOL" merge --dry-run "$T/vm/m.vbox" 2> err > out
grep -q 'more than one child, .* and gone\.vdi.*if its file, which is not there, is gone for good' err || fail "$(cat err)"

# The file given is not the newest: what stands on it follows.
fresh
"$TOOL" merge --quiet "$T/vm/Snapshots/${chain[1]}"
[ "$(digest "$top")" = "${digests[-1]}" ] || fail 'the newest does not follow'
[ ! -e "$T/vm/Snapshots/${chain[1]}" ]

# What cannot be read may be a child: it is named.
fresh
head -c 600 "$top" > "$T/vm/Snapshots/cut.vdi"
"$TOOL" merge --dry-run "$top" > out 2> err
grep -q 'warning: .*/cut\.vdi cannot be read, so it is not known whether it is based on what is merged: ' err || fail "$(cat err)"

# ---- Linked clones: in the folder beside -------------------------------------------

# clones WANT FILE: with such a child there, neither the file nor the machine is merged.
clones () {
    local sums
    sums=$(cd "$T/vm" && find . -type f -exec sha256sum {} + | sort)
    for f in "$T/vm/m.vbox" "$top"; do
        expect_fail "$1.*$2.*linked clones.*nothing was written" "$TOOL" merge --no-machine "$f"
    done
    [ "$(cd "$T/vm" && find . -type f -exec sha256sum {} + | sort)" = "$sums" ] || fail 'something was written'
}
machine () { make_machine "$T/vm/m.vbox" 3 "${chain[0]}" "Snapshots/${chain[1]}" "Snapshots/${chain[2]}"; }
for place in clone/Snapshots/c.vdi clone/c.vdi clone.vdi 'clone/sub dir/c.VDI'; do
    fresh; machine
    mkdir -p "$(dirname "$T/$place")"
    branch "$T/$place"
    case $place in
        *sub*)  # a folder that only the clone's machine file names
            printf '%s\n' '<?xml version="1.0"?><VirtualBox version="1.19-linux" xmlns="http://www.virtualbox.org/">' \
                '<Machine uuid="{22222222-2222-4333-8444-555555555555}" name="c" snapshotFolder="sub dir"><Hardware/></Machine></VirtualBox>' \
                > "$T/clone/c.vbox" ;;
    esac
    clones "${place##*/} is based on" "${chain[0]}"
    "$TOOL" merge --quiet --no-machine --count=1 "$top"  # what it does not need
    rm -r "$T"/clone*
done
# One that names it, wherever its disks are; one that uses the disk itself.
fresh; machine; mkdir "$T/clone"
sed "s/{11111111/{22222222/; s,location=\"Snapshots/[^\"]*\",location=\"/elsewhere/c.vdi\",; s/$(image_uuid "$T/vm/Snapshots/${chain[2]}")/77777777-1111-4222-8333-444444444444/g" \
    "$T/vm/m.vbox" > "$T/clone/c.vbox"
clones 'c\.vbox has a disk on top of' "${chain[1]}"
grep -v 'HardDisk ' "$T/vm/m.vbox" | sed "s/{11111111/{22222222/; s,</HardDisk>,," > "$T/clone/c.vbox"
expect_fail "c\.vbox uses .*${chain[2]}.*nothing was written" "$TOOL" merge "$T/vm/m.vbox"

# A copy of the machine stands on its own files, also with snapshots that are only there;
# and so does a machine that has nothing to do with it.
fresh; machine; rm -r "$T/clone"
cp -r "$T/vm" "$T/vm - Copy"
branch "$T/vm - Copy/Snapshots/other.vdi"
mkdir "$T/unreadable" "$T/other"
cp "$T/vm/${chain[0]}" "$T/other/x.vdi"
printf '\x78' | dd of="$T/other/x.vdi" bs=1 seek=392 conv=notrunc status=none
ln -s vm "$T/vm-link"
"$TOOL" merge --quiet "$T/vm/m.vbox"
[ "$(digest "$T/vm/${chain[0]}")" = "${digests[-1]}" ]

# ---- A machine: the snapshots are named, and the command that goes on works -------

letters () { head -c 65536 /dev/zero | tr '\0' "$1"; }
uuid () { printf '%s0000000-1111-4222-8333-44444444444%s' "$1" "$2"; }
rm -rf "$T/vm" "$T/vm - Copy" "$T/other" "$T/unreadable" "$T/vm-link"; mkdir -p "$T/vm/Snapshots"; cd "$T/vm"
image a.vdi "$(uuid a 0)" 0 A
for i in 1 2 3 4; do image "Snapshots/a$i.vdi" "$(uuid a $i)" "$(uuid a $((i - 1)))" "$(tr 1234 BCDE <<< $i)"; done
image Snapshots/side.vdi "$(uuid b 3)" "$(uuid a 2)" -
make_machine "$T/vm/m.vbox" 5 a.vdi Snapshots/a{1,2,3,4}.vdi
# Another child of what snap2 froze, of a snapshot "my side" that stands on that.
awk -v a="$(uuid a 3)" -v b="$(uuid b 3)" '
    index($0, "<HardDisk uuid=\"{" a) { printf "<HardDisk uuid=\"{%s}\" location=\"Snapshots/side.vdi\" format=\"VDI\"/>\n", b }
    1
    /name="snap2"/ { in2 = 1 }
    in2 && /<Snapshots>/ {
        printf "<Snapshot uuid=\"{5a5a5a5a-0000-4000-8000-00000000aaaa}\" name=\"my side\" timeStamp=\"2026-01-09T00:00:00Z\"><Hardware><StorageControllers><StorageController name=\"SATA\"><AttachedDevice type=\"HardDisk\" port=\"0\" device=\"0\"><Image uuid=\"{%s}\"/></AttachedDevice></StorageController></StorageControllers></Hardware></Snapshot>\n", b
        in2 = 0
    }' m.vbox > m.new
mv m.new m.vbox
shows () {
    nbdkit "$PLUGIN" "file=$T/vm/m.vbox" --run "nbdcopy 'nbd+unix:///$1?socket='\$unixsocket -" > "$T/is" 2> "$T/err" ||
        { cat "$T/err"; fail "$1 cannot be read"; }
    cmp "$T/is" <(letters "$2") || fail "$1 does not show $2"
}
shows a E; shows a@snap3 D; shows a@snap2 C; shows 'a@my%20side' C; shows a@snap0 A
"$TOOL" merge m.vbox > "$T/out" 2> "$T/warned"
grep -q "merged down to .*/a3\.vdi only: .*/a2\.vdi (snapshot 'snap2') has more than one child, .*/a3\.vdi and .*/side\.vdi (snapshot 'my side')" "$T/warned" || fail "$(cat "$T/warned")"
grep -q "To merge all: vmdkdelta merge --drop='my side' m.vbox" "$T/warned" || fail "$(cat "$T/warned")"
shows a E; shows a@snap2 C; shows 'a@my%20side' C; shows a@snap1 B; shows a@snap0 A
! grep -q 'name="snap3"' m.vbox || fail 'snap3 is still there'
expect_fail "snapshot 'snap2'\\) has more than one child.*Go on below it with: vmdkdelta merge --skip=2 m\.vbox" "$TOOL" merge m.vbox
next=$(sed -n 's/.*Go on below it with: vmdkdelta \(.*m\.vbox\)\.  .*/\1/p' "$T/warned")
[ "$next" = 'merge --skip=2 m.vbox' ] || fail "go on: $next"
"$TOOL" $next > "$T/out" 2> "$T/err"
shows a E; shows a@snap2 C; shows 'a@my%20side' C; shows a@snap1 B
! grep -q 'name="snap0"' m.vbox || fail 'snap0 is still there'
[ "$(find . -name '*.vdi' | sort | tr '\n' ' ')" = './Snapshots/a2.vdi ./Snapshots/a3.vdi ./Snapshots/side.vdi ./a.vdi ' ] || fail "$(find .)"

# The other way on: the side branch is dropped, and then all can be merged.
drop=$(sed -n "s/.*To merge all: vmdkdelta merge \(--drop='my side' m\.vbox\) .*/\1/p" "$T/warned")
[ "$drop" = "--drop='my side' m.vbox" ] || fail "drop: $drop"
eval "\"\$TOOL\" merge --quiet --yes $drop"
[ ! -e Snapshots/side.vdi ] || fail 'the side branch is still there'
shows a E; shows a@snap2 C
"$TOOL" merge --quiet m.vbox
shows a E
[ "$(find . -name '*.vdi')" = ./a.vdi ] || fail "$(find .)"
