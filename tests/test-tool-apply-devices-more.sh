#!/bin/bash
# In use, seen in other ways: a dry run on a mounted device, another name (hard
# link) of a file that is attached to a loop device, such a file where /sys does
# not tell, a device that QEMU has opened.  Needs root.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need tool mkimage losetup mke2fs
"$MKIMAGE" make cowd a-delta.vmdk --capacity=8M --fill=30 --runs=8 --descriptor=a.vmdk \
    --parent=base.vmdk --parent-cid=12345678 --cid=9abcdef0
mke2fs -q -t ext4 -F target 8M
loop=$(losetup --find --show target 2>/dev/null) || skip "loop devices cannot be made here"
on_exit 'losetup -d "$loop"'
ln target hard
expect_fail "attached to the loop device $loop" "$TOOL" apply a.vmdk hard
if unshare -m mount -t tmpfs none /sys 2>/dev/null; then
    # shellcheck disable=SC2016
    expect_fail "attached to the loop device $loop" \
        unshare -m sh -c 'mount -t tmpfs none /sys && exec "$@"' sh "$TOOL" apply a.vmdk target
fi

if command -v qemu-nbd > /dev/null; then
    before=$(sha256 "$loop")
    qemu-nbd -f raw -t -k "$T/qemu.sock" "$loop" &
    qemu=$!
    on_exit 'kill $qemu 2>/dev/null'
    await test -S qemu.sock
    for option in --quiet --dry-run; do
        expect_fail "$loop is locked by another program" "$TOOL" apply $option a.vmdk "$loop"
    done
    [ "$(sha256 "$loop")" = "$before" ] || fail 'written under QEMU'
    kill $qemu
    wait $qemu || :
fi

mkdir mnt
mount "$loop" mnt || skip "mounting is not possible here"
on_exit 'umount mnt'
expect_fail "$loop is in use" "$TOOL" apply --dry-run a.vmdk "$loop"
