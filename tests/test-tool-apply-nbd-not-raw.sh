#!/bin/bash
# An NBD export that is a sparse VMDK or a qcow2 file is no raw disk either.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need tool mkimage qemu-img
"$MKIMAGE" make cowd a-delta.vmdk --capacity=64K --grain=4K --descriptor=a.vmdk \
    --parent=base.vmdk --parent-cid=12345678 --cid=9abcdef0
for format in vmdk qcow2; do
    qemu-img create -q -f $format disk 64K
    [ "$(stat -c %s disk)" -ge 65536 ] || truncate -s 64K disk
    cp disk kept
    start file disk
    expect_fail "only raw and flat targets" "$TOOL" apply a.vmdk "$uri"
    stop
    same kept disk
done
