#!/bin/bash
# Chains that lead back to themselves, and chains that are too long, are refused by
# plugin and filter, and do not hang.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/test-chain-disks.sh"
need filter nbdinfo timeout

head -c 65536 /dev/zero > raw
child a.vmdk 1 2 "$(hint b.vmdk)"
child b.vmdk 2 1 "$(hint a.vmdk)"
refused a.vmdk
says "the chain loops: $T/a.vmdk is its own ancestor (it is the parent of $T/b.vmdk)"
refused b.vmdk
says "the chain loops: $T/b.vmdk is its own ancestor (it is the parent of $T/a.vmdk)"
filter_refused file raw delta=a.vmdk
says "the chain loops: $T/a.vmdk is its own ancestor (it is the parent of $T/b.vmdk)"

# A loop that does not begin at the top.
child c.vmdk 3 1 "$(hint a.vmdk)"
refused c.vmdk
says "the chain loops: $T/a.vmdk is its own ancestor"
filter_refused file raw delta=c.vmdk
says "the chain loops: $T/a.vmdk is its own ancestor"

# By another name: a hard link, a symbolic link.
child d.vmdk 4 5 "$(hint e.vmdk)"
ln d.vmdk e.vmdk
refused d.vmdk
says "$T/d.vmdk"
child f.vmdk 6 7 "$(hint g.vmdk)"
child g.vmdk 7 6 "$(hint f-link.vmdk)"
ln -s f.vmdk f-link.vmdk
refused f.vmdk
says 'the chain loops' "$T/f.vmdk" "$T/g.vmdk"

# A disk in its own chain through parent=.
child h.vmdk 8 9
refused h.vmdk parent=h.vmdk
says "$T/h.vmdk"
