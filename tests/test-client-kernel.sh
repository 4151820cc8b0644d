#!/bin/bash
# Clients: the kernel, through nbd-client and qemu-nbd --connect.  Needs root, and the
# module nbd.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/drive/served.sh"
need nbd-client qemu-nbd
[ "$(id -u)" -eq 0 ] || skip 'needs root'
[ -b /dev/nbd0 ] || modprobe nbd 2>/dev/null || skip 'the kernel has no nbd devices here'
for d in /dev/nbd{0..15}; do
    [ ! -b "$d" ] || [ -e "/sys/block/${d#/dev/}/pid" ] || break
done
[ -b "$d" ] && [ ! -e "/sys/block/${d#/dev/}/pid" ] || skip 'no nbd device is free'

read_it () {
    nbd-client -u "$sock" "$d" -N '' -b 512 -R
    on_exit "nbd-client -d $d > /dev/null 2>&1"
    cmp -n 4194304 expected.raw "$d" || fail "$server: nbd-client"
    nbd-client -d "$d"
    qemu-nbd -r -f raw -c "$d" "$uri"
    cmp -n 4194304 expected.raw "$d" || fail "$server: qemu-nbd"
    qemu-nbd -d "$d"
}
for_both read_it
