#!/bin/bash
# compact --output on a file system that is nearly full: what does not fit is refused before
# anything is written, with how much is free; what just fits is made.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need tool qemu-img qemu-io unshare

# As in test-merge-no-space.
if [ ! "${IN_NAMESPACE:-}" ] && unshare -rm true 2> err; then
    status=0
    IN_NAMESPACE=1 unshare -rm bash "$top_srcdir/tests/test-tool-compact-no-space.sh" || status=$?
    exit $status
fi
mkdir small
mount -t tmpfs -o size=8M none small 2> err || skip "no file system can be mounted here: $(cat err)"
on_exit 'cd /; umount "$T/small"'

qemu-img create -q -f vdi disk.vdi 16M
qemu-io -f vdi -c 'write -q -P 1 0 4M' -c 'write -q -P 0 8M 4M' disk.vdi
"$TOOL" compact --dry-run --json --output=new.vdi disk.vdi > json
size=$(sed -n 's/^ *"size-after": \([0-9]*\),*$/\1/p' json)
[ "$size" -gt $((4 << 20)) ] || fail "$(cat json)"

# fill BYTES: leave so many free.
fill () {
    local free
    rm -f small/filler
    free=$(($(stat -f -c '%a * %S' small)))
    head -c $((free - $1)) /dev/zero > small/filler
}
for lacks in 65536 2097152; do
    fill $(((size - lacks) / 4096 * 4096))
    expect_fail "needs up to $size bytes, but its file system has only $(((size - lacks) / 4096 * 4096)) free" \
        "$TOOL" compact --output=small/new.vdi disk.vdi
    [ "$(ls -A small)" = filler ] || fail "left: $(ls -A small)"
done
fill $((size + 65536))
"$TOOL" compact --quiet --output=small/new.vdi disk.vdi
qemu-img compare -q -f vdi -F vdi disk.vdi small/new.vdi || fail 'other bytes'
