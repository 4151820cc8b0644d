#!/bin/bash
# A machine with disks of other types than Normal.  Writethrough, shareable and read-only
# ones have no state in a snapshot: they keep none alive, and stay where they are attached.
# Disks on immutable and multi-attach bases are left alone, with a warning.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/machine.sh"
. "$top_srcdir/tests/merge.sh"
need tool plugin nbdcopy

letters () { head -c 65536 /dev/zero | tr '\0' "$1"; }
uuid () { printf '%s0000000-1111-4222-8333-44444444444%s' "$1" "$2"; }
images=(a.vdi Snapshots/a1.vdi Snapshots/a2.vdi)
# fresh: disk a, of three images.
fresh () {
    rm -rf "$T/vm"; mkdir -p "$T/vm/Snapshots"; cd "$T/vm"
    image a.vdi "$(uuid a 0)" 0 A
    image Snapshots/a1.vdi "$(uuid a 1)" "$(uuid a 0)" B
    image Snapshots/a2.vdi "$(uuid a 2)" "$(uuid a 1)" C
    make_machine "$T/vm/m.vbox" 3 "${images[@]}"
}
# one TYPE: a disk w that is attached to all states.
one () {
    image w.vdi "$(uuid c 0)" 0 W
    sed -i "s,</HardDisks>,<HardDisk uuid=\"{$(uuid c 0)}\" location=\"w.vdi\" format=\"VDI\" type=\"$1\"/>\n&,
        s,</StorageController>,<AttachedDevice type=\"HardDisk\" port=\"5\" device=\"0\"><Image uuid=\"{$(uuid c 0)}\"/></AttachedDevice>\n&," m.vbox
}
# children TYPE: a disk w with an image for each state.
children () {
    local i
    image w.vdi "$(uuid c 0)" 0 W
    for i in 1 2 3; do
        image "Snapshots/w$i.vdi" "$(uuid c $i)" "$(uuid c $((i - 1)))" "$(tr 123 XYZ <<< $i)"
    done
    awk -v type="$1" -v u="$(uuid c '')" '
        /<\/HardDisks>/ {
            printf "<HardDisk uuid=\"{%s0}\" location=\"w.vdi\" format=\"VDI\" type=\"%s\">\n", u, type
            for (i = 1; i <= 3; i++) printf "<HardDisk uuid=\"{%s%d}\" location=\"Snapshots/w%d.vdi\" format=\"VDI\" autoReset=\"true\">\n", u, i, i
            print "</HardDisk></HardDisk></HardDisk></HardDisk>"
        }
        /<\/StorageController>/ { printf "<AttachedDevice type=\"HardDisk\" port=\"5\" device=\"0\"><Image uuid=\"{%s%d}\"/></AttachedDevice>\n", u, ++n }
        1' m.vbox > m.new
    mv m.new m.vbox
}
shows () {
    nbdkit "$PLUGIN" "file=$T/vm/m.vbox" --run "nbdcopy 'nbd+unix:///$1?socket='\$unixsocket -" > "$T/is" 2> "$T/err" ||
        { cat "$T/err"; fail "$1 cannot be read"; }
    cmp "$T/is" <(letters "$2") || fail "$1 does not show $2"
}
attached () { grep -c "<Image uuid=\"{$1}\"/>" m.vbox || :; }

for type in Writethrough Shareable Readonly writethrough; do
    # All snapshots go, and the disk is as it was, and where it was.
    for option in '' --disk=a; do
        fresh; one $type
        sum=$(sha256sum w.vdi)
        "$TOOL" merge --quiet $option m.vbox 2> "$T/warnings"
        [ ! -s "$T/warnings" ] || fail "$type: $(cat "$T/warnings")"
        shows a C; shows w W
        ! grep -q '<Snapshot ' m.vbox || fail "$type: a snapshot is left"
        [ "$(attached "$(uuid c 0)")" = 1 ] || fail "$type: not attached"
        [ "$(sha256sum w.vdi)" = "$sum" ] || fail "$type: changed"
    done

    # A snapshot that stays has it as before.
    fresh; one $type
    "$TOOL" merge --quiet --count=1 m.vbox
    [ "$(grep -c '<Snapshot ' m.vbox)" = 1 ] || fail "$type: not one snapshot"
    [ "$(attached "$(uuid c 0)")" = 2 ] || fail "$type: the snapshot lost it"
    shows a@snap0 A; shows a C

    # A new snapshot has no new child of it.
    fresh; one $type
    "$TOOL" merge --quiet --snapshot=new m.vbox
    [ "$(attached "$(uuid c 0)")" = 2 ] || fail "$type: --snapshot: not attached twice"
    [ "$(grep -c '<HardDisk ' m.vbox)" = 3 ] || fail "$type: --snapshot: $(grep '<HardDisk ' m.vbox)"
    shows a C; shows w W

    fresh; one $type
    expect_fail "is of type $type: only disks of type Normal are merged" "$TOOL" merge --disk=w m.vbox
    "$TOOL" merge --quiet --discard-current --yes m.vbox
    shows a B; shows w W
done

for type in Immutable MultiAttach; do
    fresh; children $type
    sums=$(sha256sum w.vdi Snapshots/w*.vdi)
    "$TOOL" merge --quiet m.vbox 2> "$T/warnings"
    grep -q "warning: w\.vdi is of type $type and is not merged: snapshots which have it stay" "$T/warnings" || fail "$(cat "$T/warnings")"
    shows a C; shows w@snap0 X; shows w@snap1 Y; shows w Z
    [ "$(sha256sum w.vdi Snapshots/w*.vdi)" = "$sums" ] || fail "$type: changed"
    [ "$(ls Snapshots)" = "$(printf 'w%s.vdi\n' 1 2 3)" ] || fail "$type: $(ls Snapshots)"

    # As VirtualBox: a new snapshot needs a child of each disk; on an immutable base it is reset
    # when the machine starts.
    fresh; children $type
    "$TOOL" merge --quiet --snapshot=new m.vbox
    shows a C; shows w Z; shows w@snap0 X; shows w@new Z
    resets=$(grep -c 'autoReset="true"' m.vbox)
    [ "$resets" = $([ $type = Immutable ] && echo 4 || echo 3) ] || fail "$type: $resets are reset"
    expect_fail "is of type $type: only disks of type Normal are merged" "$TOOL" merge --disk=w m.vbox

    # Alone, there is nothing to be done.
    fresh; children $type
    "$TOOL" merge --quiet m.vbox 2> "$T/warnings"
    "$TOOL" merge m.vbox 2> "$T/warnings" | grep -q 'nothing to merge'
done
