#!/bin/bash
# VirtualBox's own images: chains by UUID, alone and mixed with VMDK, by the plugin and
# by the filter.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/test-chain-disks.sh"
need filter nbdinfo

# ---- VDIs by hand -------------------------------------------------------------

# uuid N: one that ends in N.
uuid () { printf '622a0911-bc78-4b7a-a6ec-%012d' "$1"; }
# put OFFSET BYTES: into $file.
put () { printf "$2" | dd of="$file" bs=1 seek=$(($1)) conv=notrunc status=none; }
le32 () { printf '\\x%02x\\x%02x\\x%02x\\x%02x' $(($1 & 255)) $(($1 >> 8 & 255)) $(($1 >> 16 & 255)) $(($1 >> 24 & 255)); }
# mixed UUID: as a VDI has it.
mixed () {
    local u=${1//-/} i
    for i in 3 2 1 0 5 4 7 6 8 9 10 11 12 13 14 15; do printf '\\x%s' "${u:i*2:2}"; done
}
# vdi FILE OWN PARENT ENTRY LETTER: a disk of 64 KiB, one block; PARENT 0: none.
vdi () {
    local file=$1 type=4
    [ "$3" != 0 ] || type=1
    rm -f "$file"
    truncate -s 1024 "$file"
    put 0x40 '\x7f\x10\xda\xbe\x01\x00\x01\x00\x90\x01'
    put 0x4c "$(le32 $type)"
    put 0x154 "$(le32 512)$(le32 1024)"
    put 0x170 "$(le32 65536)"
    put 0x178 "$(le32 65536)"
    put 0x180 "$(le32 1)"
    put 0x188 "$(mixed "$(uuid "$2")")"
    [ "$3" = 0 ] || put 0x1a8 "$(mixed "$(uuid "$3")")"
    put 512 "$(le32 "$4")"
    [ "$4" != 0 ] || { letters "$5" >> "$file"; put 0x184 "$(le32 1)"; }
}
free=0xffffffff zero=0xfffffffe
# vmdk FILE OWN PARENT: a child that VirtualBox could have made, nothing in it.
vmdk () {
    child "$1" "$2" ffffffff "ddb.uuid.image=\"$(uuid "$2")\"" "ddb.uuid.parent=\"$(uuid "$3")\""
}

# One directory; names say nothing.  VMDK over VDI over VMDK over VDI.
mkdir one
vdi one/d.vdi 1 0 0 A
vmdk one/c.vmdk 2 1
vdi one/b.vdi 3 2 $free
vmdk one/a.vmdk 4 3
vdi one/other.vdi 5 0 0 B
for f in d.vdi c.vmdk b.vdi a.vmdk; do
    sees A one/$f; silent
    sees A file=one/$f; silent
done
sees B one/other.vdi; silent
start "$PLUGIN" one/a.vmdk
[ "$(exports)" = 'a.vmdk b.vdi c.vmdk d.vdi ' ] || fail "$(exports)"
stop
start "$PLUGIN" dir=one
[ "$(exports)" = 'a.vmdk b.vdi c.vmdk d.vdi other.vdi ' ] || fail "$(exports)"
nbdinfo --list "$uri" > list
for d in 'd.vdi:VDI, depth 0, 65536 bytes, CID none, base disk' \
         'c.vmdk:COWD, depth 1, 65536 bytes, CID 00000002, created from d.vdi' \
         'b.vdi:VDI, depth 2, 65536 bytes, CID none, created from c.vmdk'; do
    grep -A 2 -F "export=\"${d%%:*}\":" list | grep -Fq "description: ${d#*:}" || fail "$d: $(cat list)"
done
stop
rm one/other.vdi
have=$(nbdkit "$PLUGIN" dir=one --run 'nbdinfo "$uri"' | sed -n 's/^export="\(.*\)":$/\1/p')
[ "$have" = a.vmdk ] || fail "default is '$have'"

# A VDI is known by its content: any name will do, but for dir=.
mkdir names
cp one/d.vdi names/base
cp one/c.vmdk one/c-delta.vmdk names
sees A names/c.vmdk; silent
sees A names/base; silent
start "$PLUGIN" dir=names
[ "$(exports)" = 'c.vmdk ' ] || fail "$(exports)"
stop
mv names/base names/BASE.VDI
start "$PLUGIN" dir=names
[ "$(exports)" = 'BASE.VDI c.vmdk ' ] || fail "$(exports)"
stop

# Free asks the parent, and is zeros in a base; zero is zeros.
mkdir entries
vdi entries/p.vdi 1 0 0 P
vdi entries/free.vdi 2 1 $free
vdi entries/zero.vdi 3 1 $zero
vdi entries/data.vdi 4 3 0 D
vdi entries/bfree.vdi 5 0 $free
vdi entries/bzero.vdi 6 0 $zero
sees P entries/free.vdi
sees D entries/data.vdi
for f in zero bfree bzero; do
    sees 0 entries/$f.vdi; silent
    [ "$(nbdkit "$PLUGIN" entries/$f.vdi --run 'nbdinfo --map "$uri"' | awk '{ print $1, $2, $3 }')" = '0 65536 3' ] ||
        fail "$f is not a hole"
done

# Snapshots beside the base; another folder is not searched from.
for d in Snapshots snapshots other; do
    mkdir -p $d/vm/$d
    vdi $d/vm/base.vdi 1 0 0 C
    vdi "$d/vm/$d/{$(uuid 2)}.vdi" 2 1 $free
    vmdk "$d/vm/$d/{$(uuid 3)}.vmdk" 3 2
done
for d in Snapshots snapshots; do
    for f in "{$(uuid 2)}.vdi" "{$(uuid 3)}.vmdk"; do sees C "$d/vm/$d/$f"; silent; done
done
refused "other/vm/other/{$(uuid 2)}.vdi"
says "$T/other/vm/other/{$(uuid 2)}.vdi is a VirtualBox differencing image of {$(uuid 1)}" \
    "images in $T/other/vm/other has that UUID" 'copy the parent there, or name its directory with parent-path'
refused "other/vm/other/{$(uuid 3)}.vmdk"
says "{$(uuid 2)}.vdi is a VirtualBox differencing image of {$(uuid 1)}"
sees C "other/vm/other/{$(uuid 3)}.vmdk" parent-path=other/vm; silent
mkdir elsewhere
cp one/d.vdi elsewhere
sees A "other/vm/other/{$(uuid 3)}.vmdk" parent-path=elsewhere; silent
sees C "other/vm/other/{$(uuid 2)}.vdi" parent=other/vm/base.vdi; silent
# In a directory with others that do open, it is no export.
vdi "other/vm/other/sound.vdi" 9 0 0 E
start "$PLUGIN" dir=other/vm/other 2> log
[ "$(exports)" = 'sound.vdi ' ] || fail "$(exports)"
expect_fail . nbdinfo --size "nbd+unix:///%7B$(uuid 2)%7D.vdi?socket=$sock"
grep -Fq "export {$(uuid 2)}.vdi cannot be opened: " log || { cat log; fail "no message"; }
stop

# A copy keeps its UUID.
mkdir copies
cp one/* copies
cp copies/d.vdi copies/e.vdi
refused copies/c.vmdk
says "UUID {$(uuid 1)}, the parent of $T/copies/c.vmdk, is carried by both $T/copies/d.vdi and $T/copies/e.vdi"
# Loops.
mkdir loop
vdi loop/a.vdi 1 2 $free
vdi loop/b.vdi 2 1 $free
vdi loop/self.vdi 3 3 $free
refused loop/a.vdi
says "the chain loops: $T/loop/a.vdi is its own ancestor (it is the parent of $T/loop/b.vdi)"
refused loop/self.vdi
says "$T/loop/self.vdi is a VirtualBox differencing image of {$(uuid 3)}"

# No parent, though its type wants one; a type without, though it has one.
cp entries/p.vdi p.vdi
file=p.vdi put 0x4c "$(le32 4)"
refused p.vdi
says "$T/p.vdi is a differencing image (type 4) but names no parent"
file=entries/free.vdi put 0x4c "$(le32 1)"
sees P entries/free.vdi
warns "warning: $T/entries/free.vdi: its type is 'normal', but it has a parent; using the parent"

# A block that is not there fails when it is read, and the server goes on.
vdi bad.vdi 1 0 7
start "$PLUGIN" bad.vdi 2> log
[ "$(nbdinfo --size "$uri")" = 65536 ] || fail "size"
expect_fail . nbdcopy "$uri" out
grep -Fq "$T/bad.vdi: block 0 is stored at 7, but the file has only 0 blocks" log || { cat log; fail "no message"; }
[ "$(nbdinfo --size "$uri")" = 65536 ] || fail "size"
stop

# It is no extent of a VMDK.
printf '# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\ncreateType="custom"\nRW 128 SPARSE "d.vdi"\n' > one/x.vmdk
refused one/x.vmdk
says "$T/one/d.vdi is a VDI, which cannot be an extent"
rm one/x.vmdk

# ---- The filter ---------------------------------------------------------------

# A base that was served raw, the children over it.
letters Z > raw
filter_sees Z file raw "delta=Snapshots/vm/Snapshots/{$(uuid 2)}.vdi"; silent
filter_sees Z file raw "delta=Snapshots/vm/Snapshots/{$(uuid 3)}.vmdk"; silent
filter_sees D file raw delta=entries/data.vdi; silent
filter_sees 0 file raw delta=entries/zero.vdi; silent
filter_sees Z file raw delta=one/c.vmdk delta=one/b.vdi delta=one/a.vmdk; silent
# Without a trace of the base.
rm other/vm/base.vdi
filter_sees Z file raw "delta=other/vm/other/{$(uuid 2)}.vdi"
warns "is taken for the parent of $T/other/vm/other/{$(uuid 2)}.vdi" "{$(uuid 1)}"
filter_refused file raw delta=one/d.vdi
says "$T/one/d.vdi is not a delta" 'has no parent' 'delta-allow-no-parent'
