#!/bin/bash
# A machine with two disks: all are merged, or one, and then the snapshots that the
# other still needs stay, without the merged disk, and that is said.  What has nothing to
# do with it in the machine file stays byte for byte.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/machine.sh"
. "$top_srcdir/tests/merge.sh"
need tool plugin nbdcopy

letters () { head -c 65536 /dev/zero | tr '\0' "$1"; }
uuid () { printf '%s0000000-1111-4222-8333-44444444444%s' "$1" "$2"; }
images=()
for disk in a b; do images+=("$disk.vdi" "Snapshots/${disk}1.vdi" "Snapshots/${disk}2.vdi"); done

# One letter for each image; the newest of b has nothing, and shows what b1 has.
fresh () {
    local disk
    rm -rf "$T/vm"; mkdir -p "$T/vm/Snapshots"; cd "$T/vm"
    for disk in a b; do
        image $disk.vdi "$(uuid $disk 0)" 0 A
        image Snapshots/${disk}1.vdi "$(uuid $disk 1)" "$(uuid $disk 0)" B
        image Snapshots/${disk}2.vdi "$(uuid $disk 2)" "$(uuid $disk 1)" "$([ $disk = a ] && echo C || echo -)"
    done
    make_machine "$T/vm/m.vbox" 3 "${images[@]}"
    cp m.vbox "$T/old.vbox"
    sha256sum -- "${images[@]}" > "$T/sums"
}
# shows EXPORT LETTER: of the machine.
shows () {
    nbdkit "$PLUGIN" "file=$T/vm/m.vbox" --run "nbdcopy 'nbd+unix:///$1?socket='\$unixsocket -" > "$T/is" 2> "$T/err" ||
        { cat "$T/err"; fail "$1 cannot be read"; }
    cmp "$T/is" <(letters "$2") || fail "$1 does not show $2"
}
# Disk b's part of a machine file's registry, and what is around registry and snapshots.
part_b () { sed -n '/location="b\.vdi"/,/^        <\/HardDisk>/p' "$1"; }
around () { sed '/<HardDisks>/,/<\/HardDisks>/d; /<Snapshot /,/^    <Hardware>/{/^    <Hardware>/!d}' "$1" | grep -v '<Image\|<Machine '; }

# All of them.
fresh
shows a C; shows b B; shows a@snap0 A; shows b@snap1 B
"$TOOL" merge m.vbox > "$T/out" 2> "$T/warnings"
grep 'warning\|stays, because' "$T/warnings" && fail 'a warning, though all disks were merged'
shows a C; shows b B
[ "$(find . -type f | sort | tr '\n' ' ')" = './a.vdi ./b.vdi ./m.vbox ./m.vbox-prev ' ] || { ls -AR; fail 'other files are there'; }
same "$T/old.vbox" m.vbox-prev
! grep -q '<Snapshot ' m.vbox || fail 'a snapshot is left'
diff <(around "$T/old.vbox") <(around m.vbox)

# Only a: b and its snapshots are not touched.
fresh
"$TOOL" merge --disk=a m.vbox > "$T/out" 2> "$T/warnings"
for snapshot in snap0 snap1; do
    grep -q "snapshot '$snapshot' stays, because other disks need it, but without the disk that is merged" "$T/warnings"
    grep -q "name=\"$snapshot\"" m.vbox || fail "$snapshot is gone"
done
sha256sum --quiet -c <(grep '/b\| b' "$T/sums")
[ "$(ls -A Snapshots | tr '\n' ' ')" = 'b1.vdi b2.vdi ' ]
shows a C; shows b B; shows b@snap0 A; shows b@snap1 B
expect_fail a@snap0 nbdkit "$PLUGIN" "file=$T/vm/m.vbox" --run "nbdcopy 'nbd+unix:///a@snap0?socket='\$unixsocket null:"
diff <(part_b "$T/old.vbox") <(part_b m.vbox)
[ "$(part_b m.vbox | wc -l)" = 6 ]
diff <(around "$T/old.vbox") <(around m.vbox)
# Of each snapshot one disk is left, of the current state two.
[ "$(grep -c "<Image uuid=\"{$(uuid a 0)}\"/>" m.vbox)" = 1 ]
! grep -q "$(uuid a '[12]')" m.vbox || fail 'a merged image is still in the machine file'
for i in 0 1 2; do [ "$(grep -c "<Image uuid=\"{$(uuid b $i)}\"/>" m.vbox)" = 1 ]; done
# All that is different: lines that are gone, and the image of the current state.
diff "$T/old.vbox" m.vbox | grep '^[<>]' | sed 's/  *//' > "$T/diff" || :
diff "$T/diff" - <<END2
<<HardDisk uuid="{$(uuid a 1)}" location="Snapshots/a1.vdi" format="VDI">
<<HardDisk uuid="{$(uuid a 2)}" location="Snapshots/a2.vdi" format="VDI">
<</HardDisk>
<</HardDisk>
<<AttachedDevice type="HardDisk" port="0" device="0">
<<Image uuid="{$(uuid a 0)}"/>
<</AttachedDevice>
<<AttachedDevice type="HardDisk" port="0" device="0">
<<Image uuid="{$(uuid a 1)}"/>
<</AttachedDevice>
<<Image uuid="{$(uuid a 2)}"/>
><Image uuid="{$(uuid a 0)}"/>
END2

# Then the other.
"$TOOL" merge --quiet m.vbox
shows a C; shows b B
! grep -q '<Snapshot ' m.vbox || fail 'a snapshot is left'
[ -z "$(ls -A Snapshots)" ]

# No such disk.
fresh
expect_fail c "$TOOL" merge --disk=c m.vbox
sha256sum --quiet -c "$T/sums"
same "$T/old.vbox" m.vbox
