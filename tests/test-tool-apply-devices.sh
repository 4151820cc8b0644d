#!/bin/bash
# Devices: a file that is attached to a loop device, a device that is mounted,
# a file system without room.  Needs root.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need tool mkimage losetup mke2fs

"$MKIMAGE" make sesparse a-sesparse.vmdk --capacity=8M --fill=30 --runs=8 --zero=20 \
    --descriptor=a.vmdk --parent=base.vmdk --parent-cid=12345678 --cid=9abcdef0
mke2fs -q -t ext4 -F base 8M
cp --sparse=always base target
loop=$(losetup --find --show target 2>/dev/null) || skip "loop devices cannot be made here"
on_exit '[ -z "$loop" ] || losetup -d "$loop"'

state () { sync; sha256 "$1"; }

# refuse REGEX FILE TARGET: FILE is where it would be seen.
refuse () {
    local option
    state "$2" > before
    for option in ${4:---quiet --dry-run}; do
        expect_fail "$1" "$TOOL" apply $option --undo=undo.vmdk a.vmdk "$3"
        state "$2" > after
        same before after
        [ ! -e undo.vmdk ] || fail "$3: an undo file was made"
    done
}

# ---- Attached to a loop device -------------------------------------------------

refuse "target is attached to the loop device $loop" target target
mkdir d
refuse "target is attached to the loop device $loop" target d/../target
ln -s target link
refuse "link is attached to the loop device $loop" target link

# ---- The device itself -----------------------------------------------------------

cp --sparse=always base expected
"$TOOL" apply --quiet a.vmdk expected 2> err || { cat err; fail "a file"; }
"$TOOL" apply --quiet --verify --undo=undo.vmdk a.vmdk "$loop" 2> err || { cat err; fail "a device"; }
cmp "$loop" expected
"$TOOL" apply --quiet --verify undo.vmdk "$loop"
cmp "$loop" base
rm undo.vmdk

# ---- Mounted ----------------------------------------------------------------------

mkdir mnt
# Read-only: else the kernel initialises tables in the background.
if mount -o ro "$loop" mnt 2> err; then
    on_exit 'umount mnt 2>/dev/null'
    refuse "$loop is in use \(mounted" target "$loop" --quiet
    umount mnt
    "$TOOL" apply --quiet a.vmdk "$loop" 2> err || { cat err; fail "after umount"; }
else
    echo "not tried: mounting is not possible here: $(cat err)"
fi

# ---- Detached again ------------------------------------------------------------------

losetup -d "$loop"
loop=
"$TOOL" apply --quiet a.vmdk target 2> err || { cat err; fail "detached, and still refused"; }

# ---- Too small a device ----------------------------------------------------------------

truncate -s 4M small
loop=$(losetup --find --show small)
expect_fail "$loop has 4194304 bytes.* 8388608 bytes.*nothing was written" "$TOOL" apply a.vmdk "$loop"
cmp -n 4194304 small /dev/zero
