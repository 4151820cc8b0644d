#!/bin/bash
# Advice that can be followed: what is printed where something does not work, and commands for a shell.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/test-chain-disks.sh"
need tool plugin mkimage xz

base disk.vmdk 1 A
child disk-000001.vmdk 2 1 "$(hint disk.vmdk)"
child disk-000002.vmdk 3 2 "$(hint disk-000001.vmdk)"

# A snapshot as the target is no flat file; a flat disk's descriptor names one.
expect_fail 'disk-000001.vmdk is the descriptor of a snapshot or sparse disk.*vmdkdelta merge writes them into it' \
    "$TOOL" apply disk-000002.vmdk disk-000001.vmdk
expect_fail 'give the flat file that it names, disk-flat.vmdk \(if' "$TOOL" apply disk-000002.vmdk disk.vmdk

# A dry run looks at the undo file, too.
"$MKIMAGE" make cowd d.vmdk --capacity=64K --fill=50
expect_fail 'nowhere/u.vmdk: the undo file cannot be made: No such file' "$TOOL" apply --dry-run --undo=nowhere/u.vmdk d.vmdk disk-flat.vmdk
echo rubbish > u.vmdk
expect_fail 'a file exists where the undo file would be' "$TOOL" apply --dry-run --undo=u.vmdk d.vmdk disk-flat.vmdk
rm u.vmdk
"$TOOL" apply --dry-run --undo=u.vmdk d.vmdk disk-flat.vmdk
[ ! -e u.vmdk ] || fail 'a dry run wrote'

# The command that undoes is one for a shell.
cp disk-flat.vmdk before; mkdir "it's here"
cp disk-flat.vmdk "it's here/a b.raw"
"$TOOL" apply --undo="it's here/u 1.vmdk" d.vmdk "it's here/a b.raw" > out
command=$(sed -n 's/^undo .*to undo everything: vmdkdelta //p' out)
eval "\"\$TOOL\" $command"
same before "it's here/a b.raw"

# A directory that is not there is said to be the trouble.
for where in dir=. file=disk-000002.vmdk; do
    expect_fail 'error: parent-path=.*nowhere: cannot open directory: No such file' nbdkit "$PLUGIN" "$where" parent-path=nowhere --run true
done
expect_fail 'error: parent-path=.*disk.vmdk: cannot open directory: Not a directory' nbdkit "$PLUGIN" dir=. parent-path=disk.vmdk --run true
expect_fail '.-parent-path=nowhere: cannot open directory' "$TOOL" info --parent-path=nowhere disk-000002.vmdk

# map: --no-parents where that helps.
mkdir lost; mv disk.vmdk lost
expect_fail 'add --no-parents' "$TOOL" map disk-000001.vmdk
"$TOOL" map --no-parents disk-000001.vmdk > out
mv disk-000001-delta.vmdk lost
status=0; "$TOOL" map disk-000001.vmdk > out 2>&1 || status=$?
[ $status = 1 ] || fail "status $status"
! grep -q 'no-parents' out || fail "$(cat out)"

# A VDI's UUIDs.
tar xf "$top_srcdir/tests/data/vb-vdi-tiny-2.tar.xz"
cd vb-vdi-tiny-2
"$TOOL" info diff1.vdi > out
"$TOOL" info base.vdi > base
own=$(sed -n 's/^  UUID  *//p' base)
[ "${#own}" = 36 ] || fail "$(cat base)"
grep -q "^  parent UUID  *$own\$" out || fail "$(cat out)"
! grep -q 'parent UUID' base || fail "$(cat base)"
"$TOOL" info --json diff1.vdi | tr -d ' \n' > json
grep -q "\"parent\":\"$own\",\"modification\":\"[0-9a-f-]*\"" json || fail "$(cat json)"

# What is on other hosts: said to be so where it cannot be read or made.
cd "$T"
head -c 64K /dev/urandom > new.img
for new in https://example.com/u.vmdk ssh://example.com/u.vmdk; do
    expect_fail "$new.*written on this machine" "$TOOL" create --from disk-flat.vmdk --to new.img $new
    expect_fail "$new.*it is written on this machine" "$TOOL" create --from disk-flat.vmdk --to new.img --base-descriptor=$new u.vmdk
    expect_fail "$new.*files are made here only" "$TOOL" compact --output=$new vb-vdi-tiny-2/base.vdi
    expect_fail "$new.*files are made here only" "$TOOL" apply --undo=$new d.vmdk disk-flat.vmdk
    expect_fail "$new.*(files are made here only|needs local files)" "$TOOL" snapshot vb-vdi-tiny-2/diff2.vdi $new
done
[ ! -e u.vmdk ] || fail 'something was made'
