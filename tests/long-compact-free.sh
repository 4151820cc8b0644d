#!/bin/bash
# compact --free-space on COUNT (40) random file systems in random images: all whole units
# that are free are given back, every other byte stays, every file reads the same.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/guest.sh"
need tool qemu-img mke2fs debugfs e2fsck dumpe2fs fallocate
"$TOOL" --version | grep -q ext4 || skip 'built without libext2fs'

kinds=('-t ext2' '-t ext2 -b 4096' '-t ext3' '-t ext3 -b 2048' '-t ext4' '-t ext4 -b 1024' '-t ext4 -b 4096'
    '-t ext4 -O ^metadata_csum,^uninit_bg' '-t ext4 -O bigalloc -C 16384' '-t ext4 -O ^64bit,^flex_bg -g 2048 -b 1024'
    '-t ext4 -O inline_data -I 256 -b 1024' '-t ext4 -O meta_bg,^resize_inode' '-t ext4 -O ^has_journal'
    '-t ext4 -O sparse_super2,^resize_inode' '-t ext4 -O quota')
given=0 all=0
for ((n = 0; n < ${COUNT:-40}; n++)); do
    mib=$((RANDOM % 40 + 24))
    kind=${kinds[RANDOM % ${#kinds[@]}]}
    # shellcheck disable=SC2086
    guest fs $mib $((RANDOM % 60 + 10)) $kind
    digests fs > digests
    start=$(((RANDOM % 3 == 0 ? 63 : 2048) * 512))
    rm -f disk
    truncate -s $((start + (mib << 20) + (RANDOM % 2) * 512 * 77)) disk
    table disk 0 83:$((start / 512)):$((mib * 2048))
    put disk $start < fs
    case $((RANDOM % 3)) in
        0) format=vdi unit=1048576 ;;
        1) format=vmdk unit=65536 ;;
        2) format=raw unit=4096 ;;
    esac
    what="$n: $kind, $mib MiB at $start, $format"
    rm -f image new
    qemu-img convert -O $format disk image
    cp --sparse=always disk expected
    sum=$(punched expected $start fs $unit)
    if [ $format != raw ] && [ $((RANDOM % 3)) -eq 0 ]; then
        "$TOOL" compact --free-space --quiet --output=new image || fail "$what: status $?"
        mv new image
    else
        "$TOOL" compact --free-space --quiet image || fail "$what: status $?"
    fi
    qemu-img convert -f $format -O raw image after
    truncate -s "$(stat -c %s expected)" after # some formats round up
    cmp after expected || fail "$what: other bytes"
    part after $start $mib fs.after
    sound fs.after
    digests fs.after > digests.after
    cmp digests digests.after || fail "$what: files differ"
    given=$((given + sum))
    all=$((all + 1))
done
echo "$all file systems, $((given >> 20)) MiB given back"
