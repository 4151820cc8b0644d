#!/bin/bash
# Random pairs of disks, all formats: qemu-img and our filter read the delta over
# the base as the new disk; qemu-img check and vmdkdelta check find nothing.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need filter tool qemu-img nbdcopy nbdkit:plugin:file
rounds=${TEST_LONG:+40}

# paint FILE SIZE: random data, zeros and holes at random places of it.
paint () {
    local n=$((RANDOM % 12)) size=$2 at len
    while [ $((n--)) -gt 0 ]; do
        at=$((RANDOM * 32768 + RANDOM)); at=$((at % size))
        len=$((RANDOM % 4 ? RANDOM * 3 + 1 : RANDOM * 60 + 1))
        [ $((at + len)) -le "$size" ] || len=$((size - at))
        case $((RANDOM % 4)) in
            0) fallocate -p -o $at -l $len "$1" ;;
            1) head -c $len /dev/zero | dd of="$1" oflag=seek_bytes seek=$at conv=notrunc status=none ;;
            *) head -c $len /dev/urandom | dd of="$1" oflag=seek_bytes seek=$at conv=notrunc status=none ;;
        esac
    done
}

sizes=(512 1024 65536 66048 1000 4096 5000001 20000000)
for ((i = 0; i < ${rounds:-8}; i++)); do
    size=${sizes[i % 8]}
    [ $i -lt 8 ] || size=$((RANDOM * 700 + RANDOM % 700 + 1))
    rm -f base.img new.img
    truncate -s $size base.img
    paint base.img $size
    cp --sparse=always base.img new.img
    case $((RANDOM % 4)) in
        0) truncate -s $((size + RANDOM * 17)) new.img ;;
        1) truncate -s $((size / 2 + 1)) new.img ;;
    esac
    newsize=$(stat -c %s new.img)
    [ $((RANDOM % 5)) -eq 0 ] || paint new.img "$newsize"
    # what a VMDK can hold is whole sectors
    cp new.img want.img
    truncate -s %512 want.img
    printf 'round %d: base %d, new %d bytes\n' $i $size "$newsize"

    for format in cowd sparse stream; do
        grains=(4K 64K 1M)
        [ $format != cowd ] || grains=(512 4K 1M)
        grain=${grains[RANDOM % 3]}
        dir=$format.$i
        mkdir "$dir"
        extra=(--base-descriptor=base.vmdk)
        # a descriptor cannot be of less than a sector
        [ $size -ge 512 ] || extra=()
        # from one directory to another, and within one
        if [ $((RANDOM % 2)) -eq 0 ]; then
            rm -f base.vmdk
        else
            extra=(${extra[0]:+--base-descriptor="$dir/b.vmdk"})
        fi
        "$TOOL" create --from base.img --to new.img --format=$format --grain=$grain \
            --threads=$((RANDOM % 4 + 1)) --quiet "${extra[@]}" "$dir/d.vmdk"
        "$TOOL" check "$dir/d.vmdk" > check.log || { cat check.log; fail "check: $format $grain"; }
        if [ ${#extra[@]} -gt 0 ]; then
            qemu-img compare -q -f vmdk -F raw "$dir/d.vmdk" want.img ||
                fail "qemu-img reads something else: $format, grain $grain"
        fi
        [ $format = cowd ] || qemu-img check -q "$dir/d.vmdk"
        cat > copy.sh <<< "nbdcopy \"\$uri\" have.img"
        nbdkit_run file base.img delta="$dir/d.vmdk" delta-allow-short-base=true --run '. ./copy.sh'
        same have.img want.img
        rm -r "$dir"
    done
done
