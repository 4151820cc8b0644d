#!/bin/bash
# compact: what it does not take is refused, with advice, and not one byte of it changes.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need tool mkimage qemu-img qemu-io

# refused REGEX FILE...: in place; the message matches, and the files stay.
refused () {
    local regex=$1 before
    shift
    before=$(sha256sum -- *)
    expect_fail "$regex" "$TOOL" compact "$@"
    [ "$(grep -v output <<< "$before")" = "$(sha256sum -- * | grep -v output)" ] || fail "files were changed: $*"
}

# ---- Formats ---------------------------------------------------------------------------

"$MKIMAGE" make cowd cowd-delta.vmdk --capacity=1M --fill=50 --descriptor=cowd.vmdk --parent=p.vmdk \
    --parent-cid=12345678 --cid=9abcdef0
"$MKIMAGE" make sesparse se-sesparse.vmdk --capacity=16M --fill=50 --descriptor=se.vmdk --parent=p.vmdk \
    --parent-cid=12345678 --cid=9abcdef0
"$MKIMAGE" make kdmv piece.vmdk --capacity=1M --fill=50
qemu-img create -q -f qcow2 x.qcow2 1M
head -c 300k /dev/urandom > random
qemu-img convert -f raw -O vmdk -o subformat=streamOptimized random stream.vmdk
refused 'COWD.*create --format=cowd' cowd.vmdk
refused 'SEsparse.*create --format=sparse' se.vmdk
refused 'compressed.*create --format=stream' stream.vmdk
refused 'without its descriptor' piece.vmdk
refused 'qemu-img convert' x.qcow2
for format in vhdx vpc qed parallels; do
    qemu-img create -q -f $format x.$format 1M
    refused "x.$format is a .* image, and a raw disk is needed here" x.$format
done
tar -cf x.ova random
refused 'x.ova is a tar archive' x.ova
"$TOOL" compact --quiet --base-format=raw x.ova
tar -df x.ova || fail 'a raw disk is not the same any more'
# The flat data of a disk is not an image either.
printf '%s\n' '# Disk DescriptorFile' version=1 CID=1 parentCID=ffffffff 'createType="monolithicFlat"' \
    'RW 384 FLAT "x.qcow2" 0' > flat.vmdk
refused 'flat.vmdk line 6: .*x.qcow2 is a qcow image, but should be the flat data' flat.vmdk
refused 'No such file' missing.vmdk
refused 'give one FILE' random stream.vmdk
refused 'give one FILE'
refused 'allowed are json, bar, and the number' --progress=x random
refused 'needs the name of a file' --output= random

# ---- Damaged, or not closed -----------------------------------------------------------------

qemu-img create -q -f vmdk disk.vmdk 4M
qemu-io -f vmdk -c 'write -q -P 1 0 1M' -c 'write -q -P 0 1M 1M' disk.vmdk
qemu-img create -q -f vdi disk.vdi 4M
qemu-io -f vdi -c 'write -q -P 1 0 1M' -c 'write -q -P 0 1M 1M' disk.vdi
# shellcheck disable=SC2059
poke () { printf "$3" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none; }

for file in disk.vmdk disk.vdi; do
    cp $file cut-$file
    truncate -s -1M cut-$file
    refused "nothing was written: .*cut-$file" cut-$file
    refused "nothing was written: .*cut-$file" --output=new cut-$file
done
cp disk.vdi twice.vdi
poke twice.vdi 516 '\0'         # block 1 is where block 0 is
refused 'block 1 is stored at 0, where another' twice.vdi

cp disk.vmdk unclean.vmdk
poke unclean.vmdk 72 '\1'
refused 'was not closed cleanly by its writer .*--output' unclean.vmdk
"$TOOL" compact --quiet --output=new.vmdk unclean.vmdk 2> log
grep -q 'not closed cleanly' log || fail 'no warning of what was unclean'
qemu-img compare -q -f vmdk -F vmdk new.vmdk disk.vmdk || fail 'the copy of the unclean one differs'
grep -q ': clean' <("$TOOL" check new.vmdk) || fail "$("$TOOL" check new.vmdk)"

# The redundant table is at sector 22; its first entry.
cp disk.vmdk copies.vmdk
poke copies.vmdk $((22 * 512 + 4)) '\2'
refused 'grain tables differ at entry 1 .*--tables=first or --tables=copy' copies.vmdk
expect_fail 'both can be' "$TOOL" compact --output=new2.vmdk copies.vmdk
expect_fail 'add --output=NEW' "$TOOL" compact --tables=first copies.vmdk
"$TOOL" compact --quiet --tables=first --output=new2.vmdk copies.vmdk 2> log
qemu-img compare -q -f vmdk -F vmdk new2.vmdk disk.vmdk || fail 'the copy of the one with two tables differs'
grep -q ': clean' <("$TOOL" check new2.vmdk) || fail "$("$TOOL" check new2.vmdk)"

# ---- In use -----------------------------------------------------------------------------------

for file in disk.vmdk disk.vdi random; do
    mkdir $file.lck
    expect_fail 'is in use: there is a lock' "$TOOL" compact $file
    expect_fail 'is in use: there is a lock' "$TOOL" compact --dry-run $file
    rmdir $file.lck
    exec 9<> $file
    expect_fail 'is open for writing in another program' "$TOOL" compact $file
    exec 9>&-
done
# QEMU has it open, and locked.
qemu-io -f vdi -c 'read -q 0 1M' -c 'sleep 600000' disk.vdi &
pid=$!
on_exit "kill $pid 2> /dev/null || :"
for ((i = 0; i < 6000; i++)); do
    "$TOOL" compact --quiet --dry-run disk.vdi 2> log || break
    sleep 0.05
done
refused 'disk.vdi is (locked by|open for writing in) another program' disk.vdi
kill $pid
wait $pid || :
"$TOOL" compact --quiet disk.vdi disk.vdi 2> log && fail 'two files'
"$TOOL" compact --quiet disk.vdi

# ---- A file that cannot be read or written ---------------------------------------------------------

if [ "$(id -u)" != 0 ]; then
    chmod a-w disk.vmdk
    refused 'Permission denied' disk.vmdk
fi
refused 'No such file' --output=nowhere/new.vmdk disk.vmdk
