#!/bin/bash
# Chains of each kind of base and child that qemu-img makes, read by the plugin at
# every level and by the filter over the raw base, compared with qemu-img convert.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need plugin filter qemu-img qemu-io nbdcopy

size=$((5 * 1048576 + 1024))
truncate -s $size content.raw
qemu-io -f raw -c "write -P 1 0 700K" -c "write -P 2 2000K 9K" -c "write -P 3 5120K 1K" content.raw > log

read_by () {  # EXPECTED ARGS...
    local expected=$1
    shift
    nbdkit "$@" --run "nbdcopy \"\$uri\" '$T/out.raw'"
    same "$T/out.raw" "$expected"
}

# make_child FILE PARENT OPTIONS COMMANDS...
make_child () {
    local file=$1 parent=$2 options=$3 c args=()
    shift 3
    for c; do args+=(-c "$c"); done
    qemu-img create -q -f vmdk -o "$options" -b "$parent" -F vmdk "$file"
    qemu-io -f vmdk "${args[@]}" "$file" > "$T/log"
}

for base in monolithicSparse twoGbMaxExtentSparse monolithicFlat twoGbMaxExtentFlat streamOptimized; do
    for child in monolithicSparse twoGbMaxExtentSparse; do
        mkdir "$T/$base-$child"
        cd "$T/$base-$child"
        qemu-img convert -f raw -O vmdk -o subformat=$base "$T/content.raw" base.vmdk
        make_child c1.vmdk base.vmdk subformat=$child \
            "write -P 7 64K 1K" "write -P 8 1999K 3K" "write -P 9 5120K 512"
        make_child c2.vmdk c1.vmdk subformat=$child,zeroed_grain=on \
            "write -z 0 128K" "write -P 10 3M 70K" "write -z 5056K 65K"
        for i in 1 2; do qemu-img convert -O raw c$i.vmdk expected-$i.raw; done

        read_by "$T/content.raw" "$PLUGIN" base.vmdk
        for i in 1 2; do
            read_by expected-$i.raw "$PLUGIN" c$i.vmdk
            read_by expected-$i.raw --filter="$FILTER" file "$T/content.raw" delta=c$i.vmdk
        done
        read_by expected-2.raw --filter="$FILTER" file "$T/content.raw" delta=c1.vmdk delta=c2.vmdk
        start "$PLUGIN" c2.vmdk
        for x in base:"$T/content.raw" c1:expected-1.raw c2:expected-2.raw; do
            nbdcopy "nbd+unix:///${x%%:*}.vmdk?socket=$sock" "$T/out.raw"
            same "$T/out.raw" "${x#*:}"
        done
        stop
        cd "$T"
        rm -rf "${T:?}/$base-$child"
    done
done
