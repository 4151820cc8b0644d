#!/bin/bash
# A Linux guest boots from a qcow2 overlay whose backing file is the merged disk over
# NBD.  What it writes is kept in the overlay, and it boots again from there; base and
# delta stay as they are.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/vm/lib.sh"
need filter tool
need_vm

guest
serve file base.img delta=change.vmdk
qemu-img create -q -f qcow2 -F raw -b "$uri" overlay.qcow2
boot -drive file=overlay.qcow2,format=qcow2,if=virtio
wait_console '^GUEST beat 3'
check_guest_found
wait_off
unchanged
qemu-img convert -f qcow2 -O raw overlay.qcow2 after.raw
check_written after.raw
echo "the overlay has $(stat -c %s overlay.qcow2) bytes, base and delta $(stat -c %s base.img change.vmdk | paste -sd ' ')"

# Again, from a server at another place: the overlay has kept what was written.
stop
serve file base.img delta=change.vmdk
qemu-img rebase -u -f qcow2 -F raw -b "$uri" overlay.qcow2
mv console console.1
boot -drive file=overlay.qcow2,format=qcow2,if=virtio
wait_console '^GUEST boots 2'
wait_console '^GUEST beat 2'
check_guest_found
wait_off
unchanged
