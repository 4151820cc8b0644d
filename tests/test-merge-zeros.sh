#!/bin/bash
# Zeros of 64 KiB between data of 64 KiB, as many as a batch can hold: a merge gives their
# place back, or takes none for them.  It does not write them as data.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/merge.sh"
need tool plugin nbdcopy qemu-img qemu-io

# striped FORMAT FIRST: a base of 8 MiB, its first FIRST bytes data, and a child with 40
# grains of data and as many of zeros, in turn.
striped () {
    local i commands=()
    rm -f base.* top.*
    qemu-img create -q -f "$1" -o "$2" base.vmdk 8M
    [ "$3" = 0 ] || qemu-io -f "$1" -c "write -P 1 0 $3" base.vmdk > /dev/null
    qemu-img create -q -f vmdk -o zeroed_grain=on -b base.vmdk -F vmdk top.vmdk
    for ((i = 0; i < 80; i += 2)); do
        commands+=(-c "write -P 2 $((i * 64))k 64k" -c "write -z $((i * 64 + 64))k 64k")
    done
    qemu-io -f vmdk "${commands[@]}" top.vmdk > /dev/null
    want=$(digest top.vmdk)
}
merged () {
    "$TOOL" merge --quiet top.vmdk
    [ "$(digest base.vmdk)" = "$want" ] || fail "$1: another disk"
    "$TOOL" check base.vmdk
    sync "$2"                   # what is allocated is counted at write-back
    used=$(du -k "$2" | cut -f1)
}

# In place: 40 grains of 64 KiB are holes of the file.
striped vmdk subformat=monolithicSparse 8M
sync base.vmdk
before=$(du -k base.vmdk | cut -f1)
truncate -s 1M punched
fallocate --punch-hole --offset 0 --length 64K punched 2>/dev/null ||
    skip 'the file system cannot punch holes'
merged 'stored grains' base.vmdk
[ "$used" -le $((before - 39 * 64)) ] || fail "$before KiB before, $used after"

striped vmdk subformat=monolithicFlat 8M
sync base-flat.vmdk
before=$(du -k base-flat.vmdk | cut -f1)
merged 'a flat base' base-flat.vmdk
[ "$used" -le $((before - 39 * 64)) ] || fail "flat: $before KiB before, $used after"

# New: no grain is made for them.
striped vmdk subformat=monolithicSparse 0
merged 'an empty base' base.vmdk
[ "$(stat -c %s base.vmdk)" -lt $((41 * 65536 + 65536)) ] ||
    fail "new grains: $(stat -c %s base.vmdk) bytes"
