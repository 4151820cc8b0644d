#!/bin/bash
# A file system without room for what the target would grow by, or for what lies in holes
# of a flat file: refused before anything is written; with room it is merged.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need tool qemu-img qemu-io unshare

# Again, where anybody may mount a file system.  In a changed root there are no such name
# spaces; then root mounts it here.
if [ ! "${IN_NAMESPACE:-}" ] && unshare -rm true 2> err; then
    status=0
    IN_NAMESPACE=1 unshare -rm bash "$top_srcdir/tests/test-merge-no-space.sh" || status=$?
    exit $status
fi
mkdir small
mount -t tmpfs -o size=4M none small 2> err || skip "no file system can be mounted here: $(cat err)"
on_exit 'cd /; umount "$T/small"'
cd small

for base in monolithicSparse monolithicFlat; do
    rm -rf ./*
    qemu-img create -q -f vmdk -o subformat=$base disk.vmdk 8M
    qemu-img create -q -f vmdk -b disk.vmdk -F vmdk top.vmdk
    qemu-io -f vmdk -c 'write -P 5 3M 1M' top.vmdk > "$T/io"
    sha256sum -- * > "$T/sums"
    # Half of what is needed.
    free=$(($(stat -f -c '%a * %S' .)))
    head -c $((free - (512 << 10))) /dev/zero > filler
    for option in --dry-run --quiet; do
        expect_fail 'disk\.vmdk: merging needs up to [0-9]+ bytes, but its file system has only 524288 free: nothing was written' \
            "$TOOL" merge $option top.vmdk
        needs=$(sed -n 's/.*needs up to \([0-9]*\) bytes.*/\1/p' "$T/output")
        [ "$needs" -ge 1048576 ] && [ "$needs" -le 1310720 ] || fail "$base: needs $needs bytes?"
        sha256sum --quiet -c "$T/sums" || fail 'something was written'
    done

    rm filler
    "$TOOL" merge --quiet top.vmdk
    [ ! -e top.vmdk ]
    qemu-io -f vmdk -c 'read -P 5 3M 1M' -c 'read -P 0 0 3M' disk.vmdk > "$T/io"
    ! grep -q failed "$T/io" || { cat "$T/io"; fail "$base: not what was merged"; }
done
