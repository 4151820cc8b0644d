#!/bin/bash
# A split child over a split base whose pieces end elsewhere, in each of the formats
# that have extents; read by plugin and filter, and the same as qemu-img convert.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need plugin filter mkimage qemu-img nbdcopy

# piece FILE FORMAT SIZE SEED FILL: one extent; its sectors are in $sectors.
piece () {
    "$MKIMAGE" make "$2" "$1" --capacity="$3" --seed="$4" --fill="$5" --runs=3 --layer="$4"
    sectors=$(($3 / 512))
}

# descriptor FILE CID PARENTCID HINT TYPE SIZES...: pieces FILE-s001.vmdk, ...
descriptor () {
    local file=$1 cid=$2 parent=$3 hint=$4 type=$5 i=0 n
    shift 5
    {
        printf '# Disk DescriptorFile\nversion=1\nCID=%s\nparentCID=%s\n' "$cid" "$parent"
        case $type in
            VMFSSPARSE) echo 'createType="vmfsSparse"' ;;
            *) echo 'createType="twoGbMaxExtentSparse"' ;;
        esac
        [ -z "$hint" ] || echo "parentFileNameHint=\"$hint\""
        for n; do
            i=$((i + 1))
            printf 'RW %d %s "%s-s%03d.vmdk"\n' $((n / 512)) "$type" "${file%.vmdk}" $i
        done
    } > "$file"
}

M=1048576
for format in kdmv cowd; do
    case $format in kdmv) type=SPARSE ;; cowd) type=VMFSSPARSE ;; esac
    b=($((2 * M)) $((M)) $((5 * M))) c=($((M)) $((4 * M)) $((2 * M)) $((M)))
    for i in 0 1 2; do piece b-s00$((i + 1)).vmdk kdmv "${b[i]}" $((i + 1)) 60; done
    for i in 0 1 2 3; do piece c-s00$((i + 1)).vmdk $format "${c[i]}" $((i + 10)) 30; done
    descriptor b.vmdk 11111111 ffffffff "" SPARSE "${b[@]}"
    descriptor c.vmdk 22222222 11111111 b.vmdk $type "${c[@]}"
    qemu-img convert -f vmdk -O raw b.vmdk base.raw
    qemu-img convert -f vmdk -O raw c.vmdk expected.raw
    cmp -s base.raw expected.raw && fail "the child changes nothing"

    nbdkit "$PLUGIN" c.vmdk --run "nbdcopy \"\$uri\" '$T/out.raw'"
    same out.raw expected.raw
    nbdkit "$PLUGIN" b.vmdk --run "nbdcopy \"\$uri\" '$T/out.raw'"
    same out.raw base.raw
    nbdkit_run file base.raw delta=c.vmdk --run "nbdcopy \"\$uri\" '$T/out.raw'"
    same out.raw expected.raw
done
