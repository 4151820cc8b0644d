#!/bin/bash
# Children as VirtualBox makes them: parentCID=ffffffff, no hint, and the parent's UUID.
# The parent is looked for in the child's directory, above it if that is a Snapshots
# folder, and where parent-path says.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/test-chain-disks.sh"
need filter nbdinfo

null=00000000-0000-0000-0000-000000000000
# uuid N: one that ends in N.
uuid () { printf '622a0911-bc78-4b7a-a6ec-%012d' "$1"; }
# ids OWN PARENT: the lines that VirtualBox writes; PARENT 0: none.
ids () {
    printf 'ddb.uuid.image="%s"\nddb.uuid.parent="%s"\n' "$(uuid "$1")" \
        "$([ "$2" = 0 ] && echo $null || uuid "$2")"
    printf 'ddb.uuid.modification="%s"\nddb.uuid.parentmodification="%s"' $null $null
}

# All in one directory; names say nothing.
mkdir one
base one/x.vmdk 7113d7b5 A "$(ids 1 0)"
base one/y.vmdk 7113d7b5 B "$(ids 2 0)"
child one/c1.vmdk 7bdbed01 ffffffff "$(ids 3 1)"
child one/c2.vmdk 7bdbed02 ffffffff "$(ids 4 3)"
child one/d1.vmdk 7bdbed03 ffffffff "$(ids 5 2)"
sees A one/c1.vmdk; silent
sees A one/c2.vmdk; silent
sees B one/d1.vmdk; silent
sees A one/x.vmdk; silent
start "$PLUGIN" one/c2.vmdk
[ "$(exports)" = 'c1.vmdk c2.vmdk x.vmdk ' ] || fail "$(exports)"
stop

# Spelling: braces and capitals, blanks around the = sign.
child one/e.vmdk 1 ffffffff "$(ids 6 0 | grep -v uuid.parent=)" \
    "ddb.uuid.parent = \"{$(uuid 2 | tr a-f A-F)}\""
sees B one/e.vmdk

# The child's descriptor embedded, as VirtualBox has it.
"$MKIMAGE" make kdmv one/m.vmdk --capacity=64K --fill=0 --embedded --cid=9
at=$(grep -abo '#DDB' one/m.vmdk | head -n 1 | cut -d : -f 1)
printf '#DDB\n%s\n' "$(ids 7 2)" | dd of=one/m.vmdk bs=1 seek="$at" conv=notrunc status=none
sees B one/m.vmdk

# Snapshots beside the base, in any case; another folder is not searched from.
mkdir -p two/Snapshots two/other three/SNAPSHOTS
for d in two three; do base $d/base.vmdk 1 C "$(ids 1 0)"; done
for d in two/Snapshots two/other three/SNAPSHOTS; do child "$d/{$(uuid 3)}.vmdk" 2 ffffffff "$(ids 3 1)"; done
sees C "two/Snapshots/{$(uuid 3)}.vmdk"
sees C "three/SNAPSHOTS/{$(uuid 3)}.vmdk"
refused "two/other/{$(uuid 3)}.vmdk"
says "$T/two/other/{$(uuid 3)}.vmdk is a VirtualBox differencing image of {$(uuid 1)}" \
    "none of the 2 images in $T/two/other has that UUID" 'copy the parent there, or name its directory with parent-path'
sees C "two/other/{$(uuid 3)}.vmdk" parent-path=two
sees A "two/other/{$(uuid 3)}.vmdk" parent-path=one
sees C "two/other/{$(uuid 3)}.vmdk" parent=two/base.vmdk

# The filter stops at the base, and goes on without it if it has no trace of it.
letters Z > raw
filter_sees Z file raw delta=one/c2.vmdk; silent
filter_sees Z file raw delta="two/other/{$(uuid 3)}.vmdk"
warns 'is taken for the parent of' "{$(uuid 1)}"
