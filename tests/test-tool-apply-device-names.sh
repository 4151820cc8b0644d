#!/bin/bash
# One disk under several names: a second device node, a loop device and its file, a
# partition and its disk, a device that is made of another.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need tool losetup
[ "$(id -u)" -eq 0 ] || skip 'loop devices are for root'

# attach FILE [ARG...]: as $loop, until the test ends.
attach () {
    loop=$(losetup -f --show "$@" 2> losetup.err) || skip "no loop device: $(cat losetup.err)"
    on_exit losetup -d "$loop"
}
# number NODE: its major and minor number.
number () { echo $((0x$(stat -c %t "$1"))) $((0x$(stat -c %T "$1"))); }

truncate -s 8M disk.img
head -c 3M /dev/urandom | dd of=disk.img conv=notrunc status=none
attach disk.img; disk=$loop
# shellcheck disable=SC2046
mknod node b $(number "$disk") || skip 'no device nodes can be made here'
dd if=node of=/dev/null bs=512 count=1 status=none 2> /dev/null || skip 'device nodes are not allowed here'

# A delta whose extent is the disk itself, under NAME.
delta () {
    printf '# Disk DescriptorFile\nversion=1\nCID=00000002\nparentCID=fffffffe\ncreateType="custom"\nRW 16384 FLAT "%s" 0\n' \
        "$1" > delta.vmdk
}
before=$(sha256 disk.img)
refused () {  # TARGET
    expect_fail 'is part of the delta; the target is the base' \
        "$TOOL" apply --unconfined --quiet delta.vmdk "$1"
    [ "$(sha256 disk.img)" = "$before" ] || fail "$1: it was written"
}
delta "$disk"
refused "$disk"
refused "$T/node"
delta "$T/node"
refused "$disk"
delta "$T/disk.img"             # the file below the device
refused "$disk"
refused "$T/node"
expect_fail 'are the same file' "$TOOL" create --quiet --from "$disk" --to "$T/node" d.vmdk

# A loop device on a loop device
attach "$disk"; upper=$loop
delta "$upper"
refused "$disk"
delta "$T/disk.img"
refused "$upper"

# A partition
if command -v sfdisk > /dev/null; then
    cp disk.img parted.img
    if printf 'label: dos\nstart=2048, size=8192\n' | sfdisk -q parted.img 2> /dev/null; then
        attach -P parted.img; parted=$loop
        if [ -e "/sys/class/block/${parted##*/}p1" ]; then
            if ! [ -e "${parted}p1" ]; then
                IFS=: read -r major minor < "/sys/class/block/${parted##*/}p1/dev"
                mknod "${parted}p1" b "$major" "$minor"
                on_exit rm -f "${parted}p1"
            fi
            before=$(sha256 disk.img)
            delta "${parted}p1"
            sed -i 's/RW 16384/RW 8192/' delta.vmdk
            refused "$parted"
        else
            echo 'partitions: not here'
        fi
    fi
fi

# Another disk is another disk.
truncate -s 8M other.img
attach other.img
delta "$disk"
"$TOOL" apply --unconfined --quiet delta.vmdk "$loop"
cmp disk.img "$loop"
