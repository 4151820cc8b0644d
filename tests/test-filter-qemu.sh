#!/bin/bash
# QEMU sees the same disk as nbdcopy.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/drive/fixture.sh"
need filter mkimage nbdcopy qemu-img

simple sesparse
serve file base.raw delta=x.vmdk
qemu-img convert -f raw -O raw "$uri" qemu.raw
same expected.raw qemu.raw
qemu-img compare -f raw -F raw "$uri" expected.raw
expect_fail 'mismatch|differ' qemu-img compare -f raw -F raw "$uri" base.raw
qemu-img convert -f raw -O qcow2 "$uri" out.qcow2
qemu-img compare -f raw -F qcow2 expected.raw out.qcow2
nbdcopy "$uri" out.raw
same qemu.raw out.raw
