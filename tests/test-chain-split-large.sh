#!/bin/bash
# Disks of more than 2 GiB in pieces of 2 GiB, as qemu-img makes them: sparse and
# flat, with grains on both sides of a boundary.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need plugin filter qemu-img qemu-io nbdcopy

size=$((4608 << 20))
truncate -s $size content.raw
qemu-io -f raw -c "write -P 1 2040M 16M" -c "write -P 2 4095M 2M" content.raw > log

for kind in Sparse Flat; do
    qemu-img convert -f raw -O vmdk -o subformat=twoGbMaxExtent$kind content.raw base.vmdk
    [ "$(find . -name 'base-[sf]00*.vmdk' | wc -l)" = 3 ] || fail "expected three extents"
    qemu-img create -q -f vmdk -o subformat=twoGbMaxExtentSparse -b base.vmdk -F vmdk child.vmdk
    qemu-io -f vmdk -c "write -P 4 2047M 2M" -c "write -P 5 4096M 64K" child.vmdk > log
    qemu-img convert -O raw child.vmdk expected.raw
    for args in "$PLUGIN child.vmdk" "--filter=$FILTER file content.raw delta=child.vmdk"; do
        # shellcheck disable=SC2086  # words
        nbdkit $args --run "nbdcopy \"\$uri\" '$T/out.raw'"
        # Holes of both are skipped; cmp would read all of it.
        qemu-img compare -q -f raw -F raw out.raw expected.raw || fail "$kind: differs"
        [ "$(stat -c %s out.raw)" = $size ] || fail "$kind: wrong size"
    done
    rm -f ./*.vmdk out.raw
done
