#!/bin/bash
# merge --compact: the disk reads as before, QEMU finds no error, and what is zeros takes
# no room.
. "$top_srcdir/tests/lib.sh"
. "$top_srcdir/tests/merge.sh"
need tool plugin xz nbdcopy qemu-img qemu-io

# The child has zeros over half of what the base holds, and over what nobody holds.
qemu-img create -q -f vmdk -o subformat=monolithicSparse disk.vmdk 8M
qemu-io -f vmdk -c 'write -P 1 0 4M' disk.vmdk > io
qemu-img create -q -f vmdk -b disk.vmdk -F vmdk top.vmdk
qemu-io -f vmdk -c 'write -P 0 1M 2M' -c 'write -P 0 5M 2M' -c 'write -P 7 4000k 300k' top.vmdk > io
want=$(digest top.vmdk)
for option in '' --compact; do
    rm -rf vm; mkdir vm; cp disk.vmdk top.vmdk vm
    "$TOOL" merge $option vm/top.vmdk
    [ "$(digest vm/disk.vmdk)" = "$want" ] || fail "the disk reads otherwise, $option"
    qemu-img check -f vmdk vm/disk.vmdk
    [ "$(qemu-img convert -f vmdk -O raw vm/disk.vmdk q.raw; sha256sum < q.raw)" = "$want" ] ||
        fail "QEMU reads something else, $option"
    [ "$option" ] || plain=$(stat -c %s vm/disk.vmdk)
done
# At least the 2 MiB of zeros that nobody held before are not stored.
compact=$(stat -c %s vm/disk.vmdk)
[ $compact -le $((plain - (2 << 20))) ] || fail "$compact bytes, without --compact $plain"

unpack vb-vdi-tiny-2
"$TOOL" merge --quiet --compact "${chain[-1]}"
[ "$(digest "${chain[0]}")" = "${digests[-1]}" ] || fail 'the VDI reads otherwise'
qemu-img check -f vdi "${chain[0]}"
