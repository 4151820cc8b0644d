#!/bin/bash
# A machine whose snapshots branch: nothing is merged where something else stands on
# it, and the children are named; elsewhere it can be.
. "$top_srcdir/tests/lib.sh"
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
expect_fail "base\.vdi has more than one child, .*${chain[1]} and .*other\.vdi.*nothing was written" "$TOOL" merge "$top"
expect_fail 'more than one child' "$TOOL" merge --skip=1 "$top"
[ "$(cd "$T/vm" && find . -type f -exec sha256sum {} + | sort)" = "$sums" ] || fail 'something was written'
# Above the branch nothing is in the way.
"$TOOL" merge --quiet --count=1 "$top"
[ "$(digest "$T/vm/Snapshots/${chain[1]}")" = "${digests[-1]}" ]

# Beside the base, and where only the user knows of it.
fresh; branch "$T/vm/other.vdi"
expect_fail 'more than one child' "$TOOL" merge "$top"
fresh; mkdir "$T/away"; branch "$T/away/other.vdi"
expect_fail 'more than one child' "$TOOL" merge --parent-path="$T/away" "$top"
rm -r "$T/away"

# In the registry of a machine, although there is no such file.
fresh
make_machine "$T/vm/m.vbox" 3 "${chain[0]}" "Snapshots/${chain[1]}" "Snapshots/${chain[2]}"
awk '/<HardDisk uuid/ && !done { print; print "<HardDisk uuid=\"{77777777-1111-4222-8333-444444444444}\" location=\"gone.vdi\" format=\"VDI\"/>"; done = 1; next } 1' \
    "$T/vm/m.vbox" > "$T/m"
mv "$T/m" "$T/vm/m.vbox"
expect_fail 'more than one child, .* and gone\.vdi \(in the registry.*Its file is not there: if it is gone for good' "$TOOL" merge "$T/vm/m.vbox"

# The file given is not the newest: what stands on it follows.
fresh
"$TOOL" merge --quiet "$T/vm/Snapshots/${chain[1]}"
[ "$(digest "$top")" = "${digests[-1]}" ] || fail 'the newest does not follow'
[ ! -e "$T/vm/Snapshots/${chain[1]}" ]

# What cannot be read may be a child: it is named.
fresh
head -c 600 "$top" > "$T/vm/Snapshots/cut.vdi"
"$TOOL" merge --dry-run "$top" > out 2> err
grep -q 'warning: .*/cut\.vdi cannot be read, so it is not known whether it stands on what is merged: ' err || fail "$(cat err)"

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
    clones "${place##*/} stands on" "${chain[0]}"
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
