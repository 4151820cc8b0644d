#!/bin/bash
# A Linux guest boots from the merged disk over NBD, reads the files that base and delta
# make together, and writes to it through the cow filter; base and delta stay as they are.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/vm/lib.sh"
need filter tool nbdkit:filter:cow
need_vm

guest
start --filter=cow --filter="$FILTER" file base.img delta=change.vmdk
boot -drive "file=$uri,format=raw,if=virtio"
wait_console '^GUEST beat 2'
check_guest_found
# What it has written is there for another client, as long as nbdkit runs.
wait_off
qemu-img convert -f raw -O raw "$uri" after.raw
check_written after.raw
stop
unchanged
# And then it is gone.
nbdkit_run file base.img delta=change.vmdk --run 'qemu-img compare -f raw -F raw merged.expected "$uri"'
