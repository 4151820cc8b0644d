#!/bin/bash
# Files as people and old products leave them: renamed ones, redo logs, a disk called like data,
# a machine file in another encoding, a COWD that does not count its sectors, many pieces missing.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/test-chain-disks.sh"
. "$top_srcdir/tests/merge.sh"
need plugin tool mkimage nbdcopy nbdinfo xz

# ---- Renamed: which one it could be is said, and nothing is taken -----------------------

base new.vmdk 1 A
mv new-flat.vmdk old-flat.vmdk
head -c 4096 /dev/urandom > other-flat.vmdk
refused new.vmdk
says 'By its size it could be old-flat.vmdk, renamed: then correct the name in the descriptor'
cp old-flat.vmdk b.bin; cp old-flat.vmdk c.bin; cp old-flat.vmdk d.bin
refused new.vmdk
says 'it could be b.bin, c.bin, d.bin, ..., renamed'
rm ./*.bin old-flat.vmdk
"$TOOL" info new.vmdk > out 2>&1 || :
! grep -q 'By its size' out || fail "$(cat out)"
"$MKIMAGE" make cowd was-delta.vmdk --capacity=64K --fill=50
"$MKIMAGE" make cowd large-delta.vmdk --capacity=128K --fill=50
printf '%s\n' '# Disk DescriptorFile' version=1 CID=aa parentCID=ffffffff 'createType="vmfsSparse"' \
    'RW 128 VMFSSPARSE "is-delta.vmdk"' > is.vmdk
refused is.vmdk
says 'By its size it could be was-delta.vmdk, renamed'
rm ./*.vmdk

# ---- 22 of 24 pieces are not there: one line --------------------------------------------

{
    printf '%s\n' '# Disk DescriptorFile' version=1 CID=aa parentCID=ffffffff 'createType="twoGbMaxExtentSparse"'
    for i in $(seq -w 1 24); do echo "RW 128 SPARSE \"s-s0$i.vmdk\""; done
} > s.vmdk
"$MKIMAGE" make kdmv s-s001.vmdk --capacity=64K --fill=100
"$MKIMAGE" make kdmv s-s024.vmdk --capacity=64K --fill=100
nbdkit "$PLUGIN" s.vmdk --run true 2> log
[ "$(wc -l < log)" = 1 ] || fail "$(cat log)"
grep -q 's-s002.vmdk.*nor are 21 other extents there (s-s003.vmdk, .*, s-s023.vmdk): 1441792 of 1572864 bytes are lost' log || fail "$(cat log)"
"$TOOL" info s.vmdk > out || :
[ "$(grep -c 'No such file' out)" -le 2 ] || fail "$(cat out)"
[ "$(grep -c ', not here$' out)" = 21 ] || fail "$(cat out)"
status=0; "$TOOL" check s.vmdk > out || status=$?
[ $status = 3 ] || fail "check: status $status"
rm ./*.vmdk

# ---- A redo log, and a disk that is called like data ------------------------------------

base disk.vmdk 1 A
child disk.vmdk.REDO_a1b2c3 2 1 "$(hint disk.vmdk)"
"$MKIMAGE" make kdmv x-flat.vmdk --capacity=64K --fill=50 --embedded
cp x-flat.vmdk disk2-flat.vmdk
printf '%s\n' '# Disk DescriptorFile' version=1 CID=ab parentCID=ffffffff 'createType="vmfs"' \
    "RW $(($(stat -c %s x-flat.vmdk) / 512)) VMFS \"disk2-flat.vmdk\"" > disk2.vmdk
start "$PLUGIN" dir=. base-format=raw 2> log
nbdinfo --list "$uri" | sed -n 's/^export="\(.*\)":/\1/p' | sort > have
printf '%s\n' disk.vmdk disk.vmdk.REDO_a1b2c3 disk2.vmdk | diff - have
grep -q 'not an export: .*/x-flat.vmdk looks like a disk, but is called like the data of one.*rename it, or give it as file=' log || fail "$(cat log)"
! grep -q 'disk2-flat' log || fail "$(cat log)"
stop
nbdkit "$PLUGIN" file=x-flat.vmdk --run 'nbdinfo "$uri"' > /dev/null
rm ./*.vmdk*

# ---- freeSector 0xffffffff: not counted --------------------------------------------------

"$MKIMAGE" make cowd c.vmdk --capacity=64K --fill=50
printf '\xff\xff\xff\xff' | dd of=c.vmdk bs=1 seek=28 conv=notrunc status=none
"$TOOL" check c.vmdk > out 2>&1
! grep -q 'truncated\|warning' out || fail "$(cat out)"

# ---- A machine file in another encoding ----------------------------------------------------

unpack vb-vdi-tiny-2
make_machine ./m.vbox "${#chain[@]}" "${chain[@]}"
sed -i '1s/.*/<?xml version="1.0" encoding="ISO-8859-1"?>/' m.vbox
"$TOOL" info m.vbox > out
cp m.vbox ascii.vbox
sed -i "s/name=\"snap0\"/name=\"M\xfcller\"/" m.vbox  # Latin-1
rm ascii.vbox
"$TOOL" info m.vbox > out
grep -q 'Müller' out || fail "$(cat out)"
sums=$(sha256sum ./*)
expect_fail 'm.vbox is not in UTF-8.*can only be read.*iconv' "$TOOL" merge m.vbox
[ "$(sha256sum ./*)" = "$sums" ] || fail 'something was written'
sed -i "s/M\xfcller/Müller/" m.vbox  # UTF-8, whatever the first line says
"$TOOL" info m.vbox > out
grep -q 'Müller' out || fail "$(cat out)"
"$TOOL" merge m.vbox
[ "$(digest "${chain[0]}")" = "${digests[-1]}" ]
