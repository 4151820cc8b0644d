#!/bin/bash
# A snapshot larger than its parent: the parent grows (flat, VDI, sparse VMDK), as far as
# its tables have room; where they have not, where it would shrink, and where something lies
# behind a flat one, nothing is written and the message says what to do.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/machine.sh"
. "$top_srcdir/tests/merge.sh"
need tool plugin nbdcopy qemu-img qemu-io

letters () { head -c "${2:-65536}" /dev/zero | tr '\0' "$1"; }

# grown TOP TARGET FORMAT SIZE: merged, TARGET has this size and reads as TOP did.
grown () {
    local want
    want=$(digest "$1")
    "$TOOL" merge --quiet "$1"
    [ "$(digest "$2")" = "$want" ] || fail "$2 reads otherwise"
    qemu-img convert -f "$3" -O raw "$2" q.raw
    [ "$(stat -c %s q.raw)" = "$4" ] || fail "QEMU says that $2 has $(stat -c %s q.raw) bytes, not $4"
    [ "$(sha256sum < q.raw)" = "$want" ] || fail "QEMU reads something else from $2"
    [ ! -e "$1" ] || fail "$1 is still there"
    "$TOOL" check "$2"
}
# refused REGEX TOP FILE...: and FILEs stay.
refused () {
    local sums
    sums=$(sha256sum -- "${@:2}")
    expect_fail "$1" "$TOOL" merge "$2"
    [ "$(sha256sum -- "${@:2}")" = "$sums" ] || fail 'something was written'
}
# vmdk DIR SUBFORMAT SIZE CHILD-SIZE [QEMU-IO OPTION...]
vmdk () {
    mkdir "$T/$1"; cd "$T/$1"
    qemu-img create -q -f vmdk -o subformat="$2" disk.vmdk "$3"
    qemu-io -f vmdk -c 'write -P 1 0 700k' "${@:5}" disk.vmdk > /dev/null
    qemu-img create -q -f vmdk -b disk.vmdk -F vmdk top.vmdk "$4"
    qemu-io -f vmdk -c 'write -P 2 500k 300k' -c "write -P 3 $((${4%M} * 1024 - 50))k 40k" top.vmdk > /dev/null
}

vmdk flat monolithicFlat 1M 3M
grown top.vmdk disk.vmdk vmdk 3145728
[ "$(stat -c %s disk-flat.vmdk)" = 3145728 ]
grep -q '^RW 6144 FLAT' disk.vmdk || fail 'the descriptor has the old size'

# What lies behind the disk in its file was never seen, and is not to show now.
vmdk flat-more monolithicFlat 1M 3M
letters X 1048576 >> disk-flat.vmdk
refused 'disk-flat\.vmdk has 2097152 bytes, but its extent ends at byte 1048576, and is to end at 3145728: what lies behind it would show' \
    top.vmdk disk.vmdk disk-flat.vmdk
letters X 1048576 >> disk-flat.vmdk
grown top.vmdk disk.vmdk vmdk 3145728

vmdk flat-twice monolithicFlat 1M 3M
sed -i 's/^RW 2048 FLAT.*/RW 1024 FLAT "disk-flat.vmdk" 1024\nRW 1024 FLAT "disk-flat.vmdk" 0/' disk.vmdk
refused 'disk-flat\.vmdk holds more than one extent' top.vmdk disk.vmdk disk-flat.vmdk

vmdk sparse-more monolithicSparse 3M 3M -c 'write -P 5 2000k 600k' -c 'write -P 6 960k 64k'
sed -i 's/^RW 6144 SPARSE/RW 2047 SPARSE/' disk.vmdk
grown top.vmdk disk.vmdk vmdk 3145728

# The last grain has 127 sectors of the disk, and where its last one would be another begins.
vmdk sparse-shared monolithicSparse 3M 3M -c 'write -P 6 960k 64k'
sed -i 's/^RW 6144 SPARSE/RW 2047 SPARSE/' disk.vmdk
u32 () { od -An -tu4 -j "$1" -N 4 disk.vmdk | tr -d ' '; }
file=disk.vmdk
for at in 48 56; do
    table=$(($(u32 $(($(u32 $at) * 512))) * 512))
    put $table "$(le32 $(($(u32 $((table + 60))) + 127)))"
done
head -c 65536 /dev/zero >> disk.vmdk
"$TOOL" check disk.vmdk
refused 'disk\.vmdk: the last grain, of which the disk has only a part, cannot be used as a whole: at byte [0-9]+ there is something else; nothing was written' \
    top.vmdk disk.vmdk

vmdk sparse monolithicSparse 1M 3M
grown top.vmdk disk.vmdk vmdk 3145728
qemu-img check -q -f vmdk disk.vmdk

# One table of 512 grains of 64 KiB each.
vmdk full monolithicSparse 1M 40M
refused 'disk\.vmdk: its tables have room for 33554432 bytes, the merged disk has 41943040: export it to a new file instead \(nbdcopy' \
    top.vmdk disk.vmdk

vmdk smaller monolithicSparse 3M 2M
refused 'images are not made smaller\.  Export the merged disk to a new file instead: nbdcopy' top.vmdk disk.vmdk

# vdi DIR BLOCKS DATA: a child with so many blocks, whose data begins there, of a parent
# with one and a map that has room for 128; its second block is full of B.
vdi () {
    local i
    mkdir "$T/$1"; cd "$T/$1"
    image disk.vdi 10000000-1111-4222-8333-444444444440 0 A
    image top.vdi 10000000-1111-4222-8333-444444444441 10000000-1111-4222-8333-444444444440 -
    file=top.vdi
    put 0x158 "$(le32 "$3")"
    put 0x170 "$(le32 $(($2 * 65536)))"
    put 0x180 "$(le32 "$2")$(le32 1)"
    for ((i = 0; i < $2; i++)); do put $((512 + 4 * i)) '\xff\xff\xff\xff'; done
    put 516 '\x00\x00\x00\x00'
    truncate -s "$3" top.vdi
    head -c 65536 /dev/zero | tr '\0' B >> top.vdi
}

# (QEMU refuses VDI with blocks that are not of 1 MiB)
vdi vdi 3 1024
want=$( { letters A; letters B; head -c 65536 /dev/zero; } | sha256sum)
[ "$(digest top.vdi)" = "$want" ]
"$TOOL" merge --quiet top.vdi
[ "$(digest disk.vdi)" = "$want" ] || fail 'the VDI did not grow as it should'
"$TOOL" check disk.vdi

# Its last block has more than the disk, and its map more than that.
vdi vdi-more 3 1024
file=disk.vdi
put 0x170 "$(le32 65024)"
want=$( { letters A 65024; head -c 512 /dev/zero; letters B; head -c 65536 /dev/zero; } | sha256sum)
[ "$(digest top.vdi)" = "$want" ]
"$TOOL" merge --quiet top.vdi
[ "$(digest disk.vdi)" = "$want" ] || fail 'the end of the last block shows'

vdi vdi-full 129 2048
refused 'disk\.vdi: to hold 8454144 bytes it needs a map of 129 blocks, and there is room for 128 before its data\.  Make it larger first \(VBoxManage modifymedium --resize\), or export' \
    top.vdi disk.vdi
