#!/bin/bash
# VirtualBox's links that cannot be followed: two images with one UUID, a hint and a
# UUID that disagree; and what is only a warning: a parent that was changed.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/test-chain-disks.sh"
need filter tool nbdinfo

uuid () { printf '622a0911-bc78-4b7a-a6ec-%012d' "$1"; }
image () { printf 'ddb.uuid.image="%s"' "$(uuid "$1")"; }
parent () { printf 'ddb.uuid.parent="%s"' "$(uuid "$1")"; }

letters Z > raw
base a.vmdk 1 A "$(image 1)"
base b.vmdk 2 B "$(image 2)"
child s.vmdk 3 ffffffff "$(image 3)" "$(parent 1)"
sees A s.vmdk

# A copy keeps the UUID.
base copy.vmdk 1 C "$(image 1)"
refused s.vmdk
says "UUID {$(uuid 1)}, the parent of $T/s.vmdk, is carried by both $T/a.vmdk and $T/copy.vmdk" \
    '(a copy keeps the UUID): move one of them away'
filter_refused file raw delta=s.vmdk
says "UUID {$(uuid 1)}" "$T/a.vmdk and $T/copy.vmdk"
"$TOOL" info s.vmdk > out
! grep -- ignore-cid out || fail 'that would not help'
# In a directory that is named, too; but one file found twice is one.
mkdir dir
mv copy.vmdk copy-flat.vmdk dir
refused s.vmdk parent-path=dir
says "$T/a.vmdk and $T/dir/copy.vmdk"
sees A s.vmdk parent-path=.
rm -r dir

# A copy of the child itself is no parent.
cp s.vmdk s2.vmdk
sees A s.vmdk
rm s2.vmdk
# One that says it is its own parent.
child self.vmdk 4 ffffffff "$(image 9)" "$(parent 9)"
refused self.vmdk
says "$T/self.vmdk is a VirtualBox differencing image of {$(uuid 9)}"
rm self.vmdk

# Loops.
child l1.vmdk 5 ffffffff "$(image 11)" "$(parent 12)"
child l2.vmdk 6 ffffffff "$(image 12)" "$(parent 11)"
refused l1.vmdk
says "the chain loops: $T/l1.vmdk is its own ancestor (it is the parent of $T/l2.vmdk)"

# Both kinds of link, the same and not the same.
child both.vmdk 7 1 "$(hint a.vmdk)" "$(image 4)" "$(parent 1)"
sees A both.vmdk
silent
child both.vmdk 7 1 "$(hint a.vmdk)" "$(image 4)" "$(parent 2)"
refused both.vmdk
says "$T/both.vmdk was made on the image with UUID {$(uuid 2)}, but $T/a.vmdk has UUID {$(uuid 1)}"
filter_refused file raw delta=both.vmdk
says "$T/both.vmdk was made on the image with UUID"
# A parent that has no UUID cannot disagree.
base plain.vmdk 1 D
child both.vmdk 7 1 "$(hint plain.vmdk)" "$(image 4)" "$(parent 2)"
sees D both.vmdk

# The modification UUID: a warning, and none where one of them is null.
null=00000000-0000-0000-0000-000000000000
while read -r now then warning; do
    base a.vmdk 1 A "$(image 1)" "ddb.uuid.modification=\"$now\""
    child s.vmdk 3 ffffffff "$(image 3)" "$(parent 1)" "ddb.uuid.parentmodification=\"$then\""
    sees A s.vmdk
    if [ "$warning" ]; then
        warns "warning: $T/a.vmdk was changed after $T/s.vmdk was made (modification UUID $now, expected $then)"
    else
        silent
    fi
done <<END
$(uuid 21) $(uuid 21)
$(uuid 21) $(uuid 22) yes
$null $(uuid 22)
$(uuid 21) $null
END

# Each of the keys stands once.
child s.vmdk 3 ffffffff "$(image 3)" "$(parent 1)" "$(parent 2)"
refused s.vmdk
says "$T/s.vmdk line 7: ddb.uuid.parent appears twice: it is"

# A UUID that is none must not make the child a base with zeros in it.
child s.vmdk 3 ffffffff "$(image 3)" 'ddb.uuid.parent="622a0911"'
refused s.vmdk
says "$T/s.vmdk: ddb.uuid.parent '622a0911' is not a UUID"
