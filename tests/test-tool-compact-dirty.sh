#!/bin/bash
# compact --free-space: a guest's file system that was not closed, or that contradicts
# itself, is refused, and nothing is written; damage never costs a file.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/guest.sh"
need tool qemu-img mke2fs debugfs e2fsck dumpe2fs
"$TOOL" --version | grep -q ext4 || skip 'built without libext2fs'

# refused REASON: fs is.
refused () {
    qemu-img convert -O vmdk fs a.vmdk
    cp a.vmdk before
    expect_fail "nothing was written: .*$1" "$TOOL" compact --free-space a.vmdk
    cmp a.vmdk before || fail "refused, but written: $1"
    cp good fs
}
change () { printf '%s\n' "$@" > commands; debugfs -w -f commands fs > log 2>&1; }

guest good 12 30 -t ext4
cp good fs
qemu-img convert -O vmdk fs a.vmdk
"$TOOL" compact --quiet --free-space a.vmdk

# ---- Not closed ----------------------------------------------------------------------

change 'feature needs_recovery'; refused 'whole disk .ext4. was not closed by the guest.*journal has to be replayed'
change 'ssv state 0'; refused 'was not unmounted.*Start the guest'
change 'ssv last_orphan 15'; refused 'removed while they were open'
change 'ssv state 3'; refused 'is damaged.*marked as having errors'
printf S1SUSPEND | put fs 4086
truncate -s 2M fs; printf '\0\0' | put fs 1080; printf S1SUSPEND | put fs 4086
qemu-img convert -O vmdk fs a.vmdk
expect_fail 'hibernates' "$TOOL" compact --free-space=swap a.vmdk
cp good fs

# ---- Contradictions ------------------------------------------------------------------

# Without checksums, which would find them first.
guest good 12 30 -t ext4 -O ^metadata_csum,^uninit_bg
cp good fs
block=$(debugfs -R 'bmap f1 0' fs 2> /dev/null)
[ "$block" -gt 0 ] || fail "f1 has no blocks: $block"
change "freeb $block"; refused 'the bitmap of group 0 has [0-9]* free blocks'
n=$(dumpe2fs fs 2> /dev/null | sed -n 's/^  \([0-9]*\) free blocks, .*/\1/p' | awk 'NR == 1')
change "freeb $block" "set_bg 0 free_blocks_count $((n + 1))"; refused "uses block $block, which the bitmap says is free"
table=$(dumpe2fs fs 2> /dev/null | sed -n 's/^  Inode table at \([0-9]*\)-.*/\1/p' | awk 'NR == 1')
change "freeb $table" "set_bg 0 free_blocks_count $((n + 1))"; refused "block $table holds a table"
change 'ssv blocks_count 13000'; refused 'larger than its partition'
change 'sif f1 block[5] 0x7fffff'; refused 'inode [0-9]*'

# Random damage of its tables, with and without checksums: refused, or no file is lost
# that was there before.
for options in metadata_csum ^metadata_csum,^uninit_bg; do
    guest good 12 30 -t ext4 -O $options
    for ((i = 0; i < ${COUNT:-6}; i++)); do
        cp good fs
        for ((k = 0; k < 4; k++)); do
            # shellcheck disable=SC2059
            printf "\\x$(printf %02x $((RANDOM & 255)))" | put fs $((1024 + (RANDOM * 32768 + RANDOM) % (i % 2 ? 8192 : 400000)))
        done
        digests fs > digests
        qemu-img convert -O vmdk fs a.vmdk
        cp a.vmdk before
        status=0
        timeout 60 "$TOOL" compact --quiet --free-space a.vmdk 2> log || status=$?
        case $status in
            0)  qemu-img convert -O raw a.vmdk after
                truncate -s 12M after
                digests after > digests.after
                cmp digests digests.after || fail "damage $i ($options): files differ" ;;
            1)  cmp a.vmdk before || fail "damage $i ($options): refused, but written" ;;
            *)  fail "damage $i ($options): status $status: $(cat log)" ;;
        esac
    done
done

# ---- Ambiguous, or unknown -----------------------------------------------------------

# left WHY: fs is left alone.
left () {
    qemu-img convert -O vmdk fs a.vmdk
    "$TOOL" compact --free-space a.vmdk > log
    grep -q "^guest   the whole disk: .*left alone: .*$1" log || fail "not left alone ($1): $(cat log)"
    qemu-img compare -q -F raw a.vmdk fs || fail "left alone, but changed: $1"
    cp good fs
}
cp good fs
printf LABELONE | put fs 512; left 'looks like LVM too\|looks like ext too'
printf XFSB | put fs 0; left 'looks like'
printf '\xfc\x4e\x2b\xa9' | put fs $((12 * 1048576 - 8192)); left 'looks like RAID too'
printf '\xff\xff' | put fs $((1024 + 96 + 2)); left 'unsupported\|Unsupported\|feature'
table fs 0 83:2048:2048; left 'a partition table, and a file system'
printf '\0\0' | put fs 1080; left 'not known here'
printf '\0\0' | put fs 1080
table fs 0 83:2048:4096 83:4096:4096; left 'partitions overlap'
printf '\0\0' | put fs 1080
table fs 0 83:2048:400000; left 'does not lie within the disk'
printf '\0\0' | put fs 1080
table fs 0 05:2048:4096; left 'chain of logical partitions is broken'
printf '\0\0' | put fs 1080
table fs 0 05:2048:4096
table fs 2048 83:8:8 05:8:8; table fs 2056 83:8:8 05:8:8; left 'does not end'
