#!/bin/bash
# A machine whose disks are listed in another file: VirtualBox.xml, as before VirtualBox 4.0,
# or the machine file of the original of a linked clone.  It is read, compacted and merged,
# and both files are changed in one go.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/machine.sh"
. "$top_srcdir/tests/merge.sh"
need tool plugin nbdcopy

letters () { head -c 65536 /dev/zero | tr '\0' "$1"; }
uuid () { printf '%s0000000-1111-4222-8333-44444444444%s' "$1" "$2"; }
# shows PARAMETERS NAME LETTER
shows () {
    # shellcheck disable=SC2086  # words
    nbdkit "$PLUGIN" $1 --run "nbdcopy 'nbd+unix:///$2?socket='\$unixsocket -" > "$T/is" 2> "$T/err" ||
        { cat "$T/err"; fail "$2 cannot be read"; }
    cmp "$T/is" <(letters "$3") || fail "$2 does not show $3"
}

# ---- Machines/NAME/NAME.xml, and VirtualBox.xml two directories above --------------

make_old () {
    cd "$T"; mkdir -p xp/HardDisks xp/Machines/XP/Snapshots; cd xp
    image HardDisks/a.vdi "$(uuid a 0)" 0 A
    image Machines/XP/Snapshots/a1.vdi "$(uuid a 1)" "$(uuid a 0)" B
    image Machines/XP/Snapshots/a2.vdi "$(uuid a 2)" "$(uuid a 1)" C
    image HardDisks/other.vdi "$(uuid b 0)" 0 O
    make_machine "$T/xp/m.xml" 3 HardDisks/a.vdi Machines/XP/Snapshots/a{1,2}.vdi
    sed '/<MediaRegistry>/,/<\/MediaRegistry>/d' m.xml > Machines/XP/XP.xml
    {
        printf '<?xml version="1.0"?>\n<VirtualBox version="1.7-linux">\n <Global>\n  <MachineRegistry/>\n'
        sed -n '/<MediaRegistry>/,/<\/MediaRegistry>/p' m.xml |
            sed "s,</HardDisks>,  <HardDisk uuid=\"{$(uuid b 0)}\" location=\"HardDisks/other.vdi\" format=\"VDI\" type=\"Normal\"/>\n&,"
        printf ' </Global>\n</VirtualBox>\n'
    } > VirtualBox.xml
    rm m.xml
    cp -a "$T/xp" "$T/xp-as-made"
}
old () { cd "$T"; rm -rf xp; cp -a xp-as-made xp; cd xp; }
m=Machines/XP/XP.xml
make_old

# info looks for it, and says how to read and merge; nothing else follows it unasked.
old
sums=$(find . -type f -exec sha256sum {} + | sort)
"$TOOL" info $m > "$T/out"
grep -q "^  registry  *.*/xp/VirtualBox.xml$" "$T/out" || fail "$(cat "$T/out")"
grep -q "    nbdcopy -- \[ nbdkit vmdk registry=.*/VirtualBox.xml file=$m \] out.raw" "$T/out" || fail "$(cat "$T/out")"
grep -q "    vmdkdelta merge --dry-run --registry=.*/VirtualBox.xml $m" "$T/out" || fail "$(cat "$T/out")"
grep -q '^  a  .*a chain of 3 files' "$T/out" || fail "$(cat "$T/out")"
! grep -q other "$T/out" || fail 'a disk of no state of the machine is listed'
"$TOOL" info --json $m | grep -q '"registry": ".*/VirtualBox.xml"' || fail 'no registry in the JSON'
expect_fail 'is not in the machine.s own media registry, but in that of .*/VirtualBox.xml.  Name it: registry=.*/VirtualBox.xml' \
    nbdkit "$PLUGIN" $m --run true
for verb in merge compact 'merge --dry-run'; do
    # shellcheck disable=SC2086  # words
    expect_fail 'but in that of .*/VirtualBox.xml.  Name it: --registry=' "$TOOL" $verb $m
done
expect_fail 'with --registry=.*; nothing was written' "$TOOL" merge --parent-path=. $m
expect_fail 'gone.xml: cannot open' "$TOOL" merge --registry=gone.xml $m
expect_fail 'lists the machines of a user; give one of them' "$TOOL" merge VirtualBox.xml
for how in "registry=VirtualBox.xml file=$m" "parent-path=. file=$m" "unconfined=true file=$m"; do
    shows "$how" a C; shows "$how" a@snap0 A; shows "$how" a@snap1 B
done
[ "$(find . -type f -exec sha256sum {} + | sort)" = "$sums" ] || fail 'something was written'

expect_fail 'belongs to the machine .*XP.xml.*the file that lists its media \(--registry\)' \
    "$TOOL" merge --parent-path=HardDisks Machines/XP/Snapshots/a2.vdi

# It is merged; the list has the base, and all that is not of the machine as before.
"$TOOL" merge --dry-run --registry=VirtualBox.xml $m > "$T/out"
[ "$(find . -type f -exec sha256sum {} + | sort)" = "$sums" ] || fail '--dry-run wrote'
cp VirtualBox.xml before.xml
"$TOOL" merge --quiet --registry=VirtualBox.xml $m 2> "$T/err"
[ ! -s "$T/err" ] || fail "$(cat "$T/err")"
shows "registry=VirtualBox.xml file=$m" a C
[ "$(ls -A Machines/XP/Snapshots)" = '' ] || fail "$(ls -A Machines/XP/Snapshots)"
diff <(sed '/a[12]\.vdi/d; /^ *<\/HardDisk>$/d' before.xml) <(sed '/^ *<\/HardDisk>$/d' VirtualBox.xml) || fail 'the list'
cmp VirtualBox.xml-prev before.xml
! grep -q '<Snapshot ' $m || fail 'snapshots are left'
"$TOOL" compact --quiet --registry=VirtualBox.xml $m
cmp HardDisks/other.vdi <(image x.vdi "$(uuid b 0)" 0 O; cat x.vdi)

# A new snapshot: its image is listed where its parent is.
old
"$TOOL" merge --quiet --registry=VirtualBox.xml --snapshot=new $m
shows "registry=VirtualBox.xml file=$m" a C; shows "registry=VirtualBox.xml file=$m" a@new C
[ "$(grep -c '<HardDisk ' VirtualBox.xml)" = 3 ] || fail "$(cat VirtualBox.xml)"
[ "$(grep -c '<HardDisk ' $m)" = 0 ] || fail "$(cat $m)"
"$TOOL" info $m > "$T/out"

# Part of it.
old
"$TOOL" merge --quiet --registry=VirtualBox.xml --count=1 $m
shows "registry=VirtualBox.xml file=$m" a C; shows "registry=VirtualBox.xml file=$m" a@snap0 A
[ "$(grep -c '<HardDisk ' VirtualBox.xml)" = 3 ] || fail "$(cat VirtualBox.xml)"

# Killed between the two files, and at any other step: the same command completes it.
if command -v strace > /dev/null; then
    for step in 1 2 3 5 7 9 11 13; do
        old
        ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0 strace -f -qq -o "$T/trace" -e trace=rename,renameat,renameat2,unlink,unlinkat \
            -e inject=rename,renameat,renameat2,unlink,unlinkat:signal=KILL:when=$step+ \
            "$TOOL" merge --registry=VirtualBox.xml $m > "$T/log" 2>&1 && break
        "$TOOL" merge --quiet --registry=VirtualBox.xml $m > "$T/log" 2>&1 || { cat "$T/log"; fail "step $step: it is not completed"; }
        shows "registry=VirtualBox.xml file=$m" a C
        [ "$(grep -c '<HardDisk ' VirtualBox.xml)" = 2 ] || fail "step $step: $(cat VirtualBox.xml)"
        [ -z "$(find . -name '.*vmdkdelta*')" ] || fail "step $step: $(find . -name '.*')"
    done
    [ $step -gt 5 ] || fail "only $step steps"
fi

# ---- A linked clone -----------------------------------------------------------------

# orig has a snapshot, on which both stand: orig's current state, and the clone, which
# has a snapshot too.  Everything is listed in orig.vbox.
linked () {
    cd "$T"; rm -rf vms; mkdir -p vms/orig/Snapshots vms/clone/Snapshots; cd vms/orig
    image o.vdi "$(uuid a 0)" 0 A
    image Snapshots/o1.vdi "$(uuid a 1)" "$(uuid a 0)" B
    make_machine "$T/vms/orig/orig.vbox" 2 o.vdi Snapshots/o1.vdi
    cd ../clone
    image Snapshots/c1.vdi "$(uuid c 1)" "$(uuid a 0)" C
    image Snapshots/c2.vdi "$(uuid c 2)" "$(uuid c 1)" D
    image Snapshots/c3.vdi "$(uuid c 3)" "$(uuid c 2)" E
    make_machine "$T/vms/clone/clone.vbox" 3 Snapshots/c{1,2,3}.vdi
    sed -i '/<MediaRegistry>/,/<\/MediaRegistry>/d; s/11111111-2222/11111111-3333/' clone.vbox
    cd ..
    awk -v at="/somewhere/else/clone/Snapshots" -v u="$(uuid c '')" '
        /location="o\.vdi"/ {
            print
            for (i = 1; i <= 3; i++) printf "<HardDisk uuid=\"{%s%d}\" location=\"%s/c%d.vdi\" format=\"VDI\">\n", u, i, at, i
            print "</HardDisk></HardDisk></HardDisk>"
            next
        }
        1' orig/orig.vbox > new
    mv new orig/orig.vbox
}
linked
sums=$(find . -type f -exec sha256sum {} + | sort)
shows 'registry=orig/orig.vbox file=clone/clone.vbox' o E
shows 'parent-path=orig file=clone/clone.vbox' o@snap0 C
"$TOOL" info clone/clone.vbox > "$T/out"
grep -q 'a chain of 4 files' "$T/out" || fail "$(cat "$T/out")"
# Its base is the original's.
expect_fail 'has more than one child' "$TOOL" merge --registry=orig/orig.vbox --skip=2 clone/clone.vbox
[ "$(find . -type f -exec sha256sum {} + | sort)" = "$sums" ] || fail 'something was written'
"$TOOL" merge --registry=orig/orig.vbox clone/clone.vbox > "$T/out" 2> "$T/err"
grep -q 'merged down to .*c1\.vdi only: .*o\.vdi has more than one child' "$T/err" || fail "$(cat "$T/err")"
shows 'registry=orig/orig.vbox file=clone/clone.vbox' o E
[ "$(ls clone/Snapshots)" = c1.vdi ] || fail "$(ls clone/Snapshots)"
shows file=orig/orig.vbox o B; shows file=orig/orig.vbox o@snap0 A
[ "$(grep -c '<HardDisk ' orig/orig.vbox)" = 3 ] || fail "$(cat orig/orig.vbox)"

# Two that list it: whose is meant, the user says.  A copy of the clone is no registry.
linked
cp -r orig 'orig - Copy'; sed -i 's/11111111-2222/11111111-4444/' 'orig - Copy/orig.vbox'
cp -r clone 'clone - Copy'
expect_fail "are in the media registry of .* and in that of .*: name one of them" "$TOOL" info clone/clone.vbox
shows 'registry=orig/orig.vbox file=clone/clone.vbox' o E
# One that lists other disks is none.
rm -r 'orig - Copy'
sed -i '/c[123]\.vdi/d; s,^</HardDisk></HardDisk></HardDisk>,,' orig/orig.vbox
expect_fail "is not in the machine's own media registry.*Name it as the registry" "$TOOL" merge --registry=orig/orig.vbox clone/clone.vbox
expect_fail "Name it as the registry" nbdkit "$PLUGIN" clone/clone.vbox --run true
