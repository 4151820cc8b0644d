#!/bin/bash
# A chain of 33 links made by qemu-img: the plugin reads every level as
# qemu-img convert does, by the name of the export and as file=; the filter reads
# it over a raw copy of the base, from the newest delta alone and from a list.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need plugin filter qemu-img qemu-io nbdcopy nbdinfo

size=$((3 * 1048576 + 512))   # not a whole number of grains
qemu-img create -q -f vmdk d0.vmdk $size
qemu-io -f vmdk -c "write -P 1 0 1M" -c "write -P 2 2M 1M" d0.vmdk > log
for ((i = 1; i <= 32; i++)); do
    qemu-img create -q -f vmdk -b d$((i - 1)).vmdk -F vmdk d$i.vmdk
    qemu-io -f vmdk -c "write -P $((i + 16)) $((i * 91136)) 8K" \
        -c "write -P $((i + 64)) $((i % 5 * 262144 + 512)) 1K" d$i.vmdk > log
done
qemu-img convert -O raw d0.vmdk base.raw

# read_by EXPECTED ARGS...: what nbdkit serves with these.
read_by () {
    local expected=$1
    shift
    nbdkit "$@" --run "nbdcopy \"\$uri\" '$T/out.raw'"
    same out.raw "$expected"
}

for level in 0 1 2 8 31 32; do
    qemu-img convert -O raw d$level.vmdk expected-$level.raw
    read_by expected-$level.raw "$PLUGIN" file=d$level.vmdk
    read_by expected-$level.raw "$PLUGIN" d$level.vmdk  # file= may be left out
done
cmp -s expected-8.raw expected-32.raw && fail "the levels do not differ"

# Every level of one server.
start "$PLUGIN" d32.vmdk
[ "$(nbdinfo --list --json "$uri" | grep -c '"export-name"')" = 33 ] || fail "not 33 exports"
for level in 0 1 2 8 31 32; do
    nbdcopy "nbd+unix:///d$level.vmdk?socket=$sock" out.raw
    same out.raw expected-$level.raw
done
stop

for level in 1 2 8 32; do
    read_by expected-$level.raw --filter="$FILTER" file base.raw delta=d$level.vmdk
    deltas=()
    for ((i = 1; i <= level; i++)); do deltas+=("delta=d$i.vmdk"); done
    read_by expected-$level.raw --filter="$FILTER" file base.raw "${deltas[@]}"
    read_by expected-$level.raw --filter="$FILTER" file base.raw "${deltas[@]}" delta-follow=false
done
# Some listed, the rest followed.
read_by expected-8.raw --filter="$FILTER" file base.raw delta=d6.vmdk delta=d7.vmdk delta=d8.vmdk
