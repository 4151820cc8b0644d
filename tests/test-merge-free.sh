#!/bin/bash
# merge --compact --free-space: when all is merged, what the guest has free is given back.
# A guest that was not shut down keeps its free space, and is compacted otherwise.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/merge.sh"
. "$top_srcdir/tests/guest.sh"
need tool plugin xz nbdcopy qemu-img mke2fs debugfs e2fsck dumpe2fs fallocate
"$TOOL" --version | grep -q ext4 || skip 'built without libext2fs'

unpack vb-vdi-tiny-2
# add FILE PORT FS: a disk without snapshots that holds a file system.
add () {
    qemu-img convert -O vdi "$3" "vm/$1"
    sed -i "s,</HardDisks>,<HardDisk uuid=\"{$(image_uuid "vm/$1")}\" location=\"$1\" format=\"VDI\" type=\"Normal\"/>\n&,
        s,^        </StorageController>,<AttachedDevice type=\"HardDisk\" port=\"$2\" device=\"0\"><Image uuid=\"{$(image_uuid "vm/$1")}\"/></AttachedDevice>\n&," vm/m.vbox
}
here=$PWD
cd "$T"
guest fs 24 20 -t ext4
digests fs > digests
sum=$(cp fs expected; punched expected 0 fs 1048576)
[ "$sum" -gt $((8 << 20)) ] || fail "only $sum bytes are free"
cp fs dirty
echo 'ssv state 0' > commands
debugfs -w -f commands dirty > log 2>&1
fresh () {
    rm -rf vm
    cp -r "$here" vm
    (cd "$here"; make_machine "$T/vm/m.vbox" "${#chain[@]}" "${chain[@]}")
    add clean.vdi 5 fs
    add dirty.vdi 6 dirty
    cp vm/clean.vdi vm/dirty.vdi .
}
compacted () {
    grep -q 'guest .*the whole disk: ext4, .* are free' out || fail "no word of the file system: $(cat out)"
    grep -q 'dirty.*free space of the guest stays: .*not unmounted' out || fail "no word of the dirty one: $(cat out)"
    qemu-img convert -O raw vm/clean.vdi after
    truncate -s 24M after
    cmp after expected || fail 'clean.vdi: other bytes'
    digests after > digests.after
    cmp digests digests.after || fail 'files differ'
    [ "$(stat -c %s vm/clean.vdi)" -le $(($(stat -c %s clean.vdi) - sum)) ] || fail 'clean.vdi is as large as it was'
    qemu-img compare -q dirty.vdi vm/dirty.vdi || fail 'dirty.vdi was changed'
}

fresh
"$TOOL" merge --dry-run --compact --free-space vm/m.vbox > out 2>&1
cmp vm/clean.vdi clean.vdi || fail 'a dry run wrote'
"$TOOL" merge --compact --free-space vm/m.vbox > out 2>&1
compacted
[ "$(digest "vm/${chain[0]}")" = "${digests[-1]}" ] || fail 'the merged disk reads otherwise'

fresh
"$TOOL" compact --free-space vm/m.vbox > out 2>&1
compacted

expect_fail 'belongs to --compact' "$TOOL" merge --free-space vm/m.vbox
expect_fail 'is for a machine' "$TOOL" merge --compact --free-space "vm/${chain[-1]}"
