#!/bin/bash
# A file system of 96 MiB from which a file of 60 MiB was deleted, through the export; what
# it does not use is discarded (as fstrim in the guest does it, and virt-sparsify), and
# compact gives the space back: in the disk itself, and by way of a child that is merged.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need plugin tool qemu-img qemu-io nbdcopy mke2fs debugfs dumpe2fs e2fsck

mkdir files
head -c 60M /dev/urandom > files/big
seq 100000 > files/kept
truncate -s 96M before.raw
mke2fs -q -t ext4 -b 4096 -d files before.raw
cp before.raw after.raw
debugfs -w -R 'rm /big' after.raw > out 2>&1 || fail "$(cat out)"
# a cache that is not there any more, so to speak
e2fsck -fy after.raw > out 2>&1 || [ $? -eq 1 ] || fail "$(cat out)"

# What a guest does: it writes the blocks that change, and discards those that are free.
cmp -l before.raw after.raw > cmp.out || [ $? -eq 1 ]
awk '{ b = int (($1 - 1) / 4096); if (b != last || NR == 1) print b; last = b }' cmp.out | sort -nu > changed
[ -s changed ] || fail 'deleting changed nothing'
commands=()
while read -r block; do
    dd if=after.raw of="block$block" bs=4096 skip="$block" count=1 status=none
    commands+=(-c "write -s block$block $((block * 4096)) 4096")
done < changed
dumpe2fs after.raw 2>/dev/null | sed -n 's/^  Free blocks: //p' | tr ', ' '\n\n' | grep . > free
while IFS=- read -r from to; do
    commands+=(-c "discard $((from * 4096)) $(((${to:-$from} - from + 1) * 4096))")
done < free
commands+=(-c flush)
guest () {  # ARGUMENT...: of nbdkit
    nbdkit -U - "$PLUGIN" "$@" --run "qemu-io -f raw -d unmap $(printf '%q ' "${commands[@]}") \"\$uri\"" > out 2>&1 || fail "$(cat out)"
    ! grep -q 'rror\|failed' out || fail "$(cat out)"
}
# It holds what it should, and is no longer than it should be.
look () {  # FILE LARGER
    local mib=$(($(stat -c %s "$1") >> 20))
    nbdkit -U - "$PLUGIN" "$1" --run 'nbdcopy "$uri" out.raw'
    e2fsck -fn out.raw > out 2>&1 || fail "$1: $(cat out)"
    debugfs -R 'dump /kept kept' out.raw > out 2>&1
    cmp kept files/kept || fail "$1: a file that was kept has other bytes"
    [ "$mib" -lt 36 ] || fail "$1 has $mib MiB"
    echo "$1: $2 MiB, now $mib MiB"
}

qemu-img convert -O vmdk before.raw disk.vmdk
large=$(($(stat -c %s disk.vmdk) >> 20))
[ $large -ge 60 ] || fail "disk.vmdk has only $large MiB"
guest disk.vmdk write=true
"$TOOL" compact --quiet disk.vmdk
look disk.vmdk $large
qemu-img check -q disk.vmdk || fail 'qemu-img finds errors'

for format in vdi vmdk; do
    qemu-img convert -O $format before.raw base.$format
    large=$(($(stat -c %s base.$format) >> 20))
    guest base.$format write-to=run.$format
    "$TOOL" merge --quiet --compact run.$format > out 2>&1 || fail "$(cat out)"
    [ ! -e run.$format ] || fail 'it was not merged'
    look base.$format $large
done
