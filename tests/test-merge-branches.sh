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

# In the registry of a machine, although there is no such file.
fresh
make_machine "$T/vm/m.vbox" 3 "${chain[0]}" "Snapshots/${chain[1]}" "Snapshots/${chain[2]}"
awk '/<HardDisk uuid/ && !done { print; print "<HardDisk uuid=\"{77777777-1111-4222-8333-444444444444}\" location=\"gone.vdi\" format=\"VDI\"/>"; done = 1; next } 1' \
    "$T/vm/m.vbox" > "$T/m"
mv "$T/m" "$T/vm/m.vbox"
expect_fail 'more than one child, .* and gone\.vdi \(in the registry' "$TOOL" merge "$T/vm/m.vbox"

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
