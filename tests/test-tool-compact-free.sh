#!/bin/bash
# compact --free-space: all that the guest's file systems have free in whole blocks is
# given back, every file reads the same, and every other byte of the disk too.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/guest.sh"
need tool qemu-img mke2fs debugfs e2fsck dumpe2fs fallocate
"$TOOL" --version | grep -q ext4 || skip 'built without libext2fs'

field () { sed -n "s/^ *\"$1\": *\([0-9]*\),*$/\1/p" json; }

# freed FILE FORMAT UNIT: compact FILE, which was made of `disk` with a file system `fs` at
# 1 MiB; compare.
freed () {
    local file=$1 format=$2 unit=$3 sum given
    cp --sparse=always disk expected
    sum=$(punched expected 1048576 fs "$unit")
    [ "$sum" -gt $((4 << 20)) ] || fail "$file: only $sum bytes are free"
    cp "$file" before
    "$TOOL" compact --free-space --dry-run --json "$file" > json
    cmp "$file" before || fail "$file: a dry run wrote"
    # Some of it may have been zeros, and was not stored.
    given=$(field free-bytes)
    [ "$given" -le "$sum" ] && [ "$given" -gt $((sum / 10 * 9)) ] || fail "$file: $sum are free, it says $(cat json)"
    "$TOOL" compact --free-space --json "$file" > json
    [ "$(field free-bytes)" = "$given" ] || fail "$file: the dry run said $given, now it is $(cat json)"
    qemu-img convert -f "$format" -O raw "$file" after
    cmp after expected || fail "$file: other bytes than those that are free changed"
    [ "$format" = raw ] || "$TOOL" check "$file" > log
    "$TOOL" compact --free-space "$file" > log
    grep -q 'nothing to give back' log || fail "$file, again: $(cat log)"
    part after 1048576 24 fs.after
    sound fs.after
    digests fs.after > digests.after
    cmp digests digests.after || fail "$file: files differ"
}

# make_disk MKE2FS...
make_disk () {
    guest fs 24 40 "$@"
    digests fs > digests
    [ "$(wc -l < digests)" -gt 60 ] || fail "only $(wc -l < digests) files"
    rm -f disk
    truncate -s 26M disk
    table disk 0 83:2048:49152
    put disk 1048576 < fs
}

make_vdi () { qemu-img convert -O vdi disk a.vdi; }
make_vmdk () { qemu-img convert -O vmdk disk a.vmdk; }

make_disk -t ext4
make_vmdk
freed a.vmdk vmdk 65536
make_vdi
freed a.vdi vdi 1048576
cp disk a.raw
freed a.raw raw 4096

# A new file.
make_vmdk
cp a.vmdk before
rm -f new.vmdk
"$TOOL" compact --free-space --quiet --output=new.vmdk a.vmdk
cmp a.vmdk before || fail '--output changed the old file'
cp --sparse=always disk expected
punched expected 1048576 fs 65536 > /dev/null
qemu-img convert -O raw new.vmdk after
cmp after expected || fail 'the new file has other bytes'

# Other kinds of file systems.
for options in '-t ext2' '-t ext4 -O bigalloc -C 16384'; do
    # shellcheck disable=SC2086
    make_disk $options
    make_vmdk
    freed a.vmdk vmdk 65536
done

# A flat extent that is not on blocks of its file, split in the middle of what is free.
{ head -c 512 /dev/zero; cat disk; } > flat-flat.vmdk
cat > flat.vmdk <<END
# Disk DescriptorFile
version=1
CID=00000001
parentCID=ffffffff
createType="monolithicFlat"
RW 20000 FLAT "flat-flat.vmdk" 1
RW 33248 FLAT "flat-flat.vmdk" 20001
END
"$TOOL" compact --free-space --json flat.vmdk > json
[ "$(field free-bytes)" -gt $((4 << 20)) ] || fail "flat: $(cat json)"
tail -c +513 flat-flat.vmdk > after
part after 1048576 24 fs.after
sound fs.after
digests fs.after > digests.after
cmp digests digests.after || fail 'flat: files differ'
if cmp -s after disk; then fail 'flat: nothing was given back'; fi

# ---- Other partitions ----------------------------------------------------------------

# A logical partition; one of something unknown; LVM; swap, which is free when asked for.
guest fs 24 20 -t ext4
digests fs > digests
rm -f disk; truncate -s 64M disk
table disk 0 05:2048:57344 83:61440:4096 8e:65536:4096 82:69632:8192
table disk 2048 83:2048:49152
put disk $((4096 * 512)) < fs
head -c 2M /dev/zero | tr '\0' 'u' | put disk $((61440 * 512))
head -c 2M /dev/zero | tr '\0' 'l' | put disk $((65536 * 512))
head -c 4M /dev/zero | tr '\0' 's' | put disk $((69632 * 512))
printf SWAPSPACE2 | put disk $((69632 * 512 + 4086))
make_vmdk
cp --sparse=always disk expected
punched expected $((4096 * 512)) fs 65536 > /dev/null
"$TOOL" compact --free-space a.vmdk > log
for line in 'partition 5: ext4, .* of 24 MiB are free' 'partition 2: left alone: ' 'partition 3: LVM, left alone' \
    'partition 4: swap, left alone: --free-space=swap'; do
    grep -q "^guest   $line" log || fail "no \"$line\" in $(cat log)"
done
qemu-img convert -O raw a.vmdk after
cmp after expected || fail 'logical: other bytes'
make_vmdk
"$TOOL" compact --quiet --free-space=swap a.vmdk
fallocate -p -o $((69632 * 512 + 65536)) -l $(((4 << 20) - 65536)) expected
qemu-img convert -O raw a.vmdk after
cmp after expected || fail 'swap: other bytes'
expect_fail 'allowed is swap' "$TOOL" compact --free-space=all a.vmdk

# GPT, and a disk without partitions.
if command -v sfdisk > /dev/null; then
    truncate -s 26M gpt
    printf 'label: gpt\nstart=2048, size=49152, type=L\n' | sfdisk -q gpt
    put gpt 1048576 < fs
    cp gpt disk
    make_vmdk
    freed a.vmdk vmdk 65536
    printf '\1' | put gpt 1100 # the checksum of its entries
    qemu-img convert -O vmdk gpt b.vmdk
    "$TOOL" compact --free-space b.vmdk > log
    grep -q 'the whole disk: left alone: its GPT is damaged' log || fail "damaged GPT: $(cat log)"
    qemu-img compare -q -F raw b.vmdk gpt || fail 'damaged GPT'
fi
qemu-img convert -O vmdk fs b.vmdk
"$TOOL" compact --free-space b.vmdk > log
grep -q 'the whole disk: ext4, .* are free' log || fail "no partitions: $(cat log)"
qemu-img convert -O raw b.vmdk fs.after
digests fs.after > digests.after
cmp digests digests.after || fail 'no partitions: files differ'

# ---- What stands on others -----------------------------------------------------------

make_vmdk
qemu-img create -q -f vmdk -F vmdk -b a.vmdk over.vmdk
expect_fail 'is a snapshot' "$TOOL" compact --free-space over.vmdk
cp a.vmdk before
expect_fail 'over.vmdk' "$TOOL" compact --free-space a.vmdk
cmp a.vmdk before || fail 'a base with a child was changed'
"$TOOL" compact --quiet a.vmdk
