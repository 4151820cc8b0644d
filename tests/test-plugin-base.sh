#!/bin/bash
# One disk without snapshots, of each kind: the plugin reads it, and holes are zeros.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need plugin mkimage qemu-img qemu-io nbdcopy nbdinfo

read_it () { nbdkit "$PLUGIN" "$1" --run "nbdcopy \"\$uri\" '$T/out.raw'"; }

size=$((2 * 1048576 + 512))
truncate -s $size content.raw
qemu-io -f raw -c "write -P 1 64K 200K" -c "write -P 2 2M 512" content.raw > log
for kind in monolithicSparse monolithicFlat twoGbMaxExtentSparse twoGbMaxExtentFlat streamOptimized; do
    qemu-img convert -f raw -O vmdk -o subformat=$kind content.raw q.vmdk
    read_it q.vmdk
    same out.raw content.raw
    mv q.vmdk renamed.vmdk      # what is embedded says q.vmdk
    case $kind in *Sparse|stream*) [ -e q-s001.vmdk ] || { read_it renamed.vmdk; same out.raw content.raw; } ;; esac
    rm -f ./*.vmdk
done

for format in kdmv stream sesparse cowd; do
    "$MKIMAGE" make $format m-data.vmdk --capacity=3M --fill=40 --descriptor=m.vmdk --raw=expected.raw
    read_it m.vmdk
    same out.raw expected.raw
done
for format in kdmv stream; do
    "$MKIMAGE" make $format e.vmdk --capacity=3M --fill=40 --embedded --raw=expected.raw
    read_it e.vmdk
    same out.raw expected.raw
    nbdkit "$PLUGIN" file=e.vmdk --run 'nbdinfo --list "$uri"' > list
    grep -q 'description: KDMV, depth 0, 3145728 bytes, CID fffffffe, base disk$' list || fail "$(cat list)"
done

# Without a descriptor nobody knows whether it is one.
"$MKIMAGE" make kdmv bare.vmdk --capacity=1M
expect_fail "$T/bare.vmdk is the data of a disk .*open its descriptor" nbdkit "$PLUGIN" bare.vmdk --run true
# A disk of all zeros in one line.
printf '# Disk DescriptorFile\nCID=1\nRW 100 ZERO\n' > z.vmdk
read_it z.vmdk
cmp -n 51200 out.raw /dev/zero
[ "$(stat -c %s out.raw)" = 51200 ] || fail "size $(stat -c %s out.raw)"
