#!/bin/bash
# examples/migrate-live.sh: the target gets full.  The guest goes on, on its overlay; when
# there is room, the same command makes the copy and changes over.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/vm/lib.sh"
. "$top_srcdir/tests/doc.sh"
need filter tool socat setsid
need_vm
[ "$(id -u)" -eq 0 ] || skip 'needs root, for a small file system'
mkdir small
mount -t tmpfs -o size=24m small small 2> log || skip "cannot mount here: $(cat log)"
on_exit "umount '$T/small'"
installed

guest
serial
export STATE=$T/state
on_exit 'for f in state/*.pid; do kill "$(cat "$f")"; done 2>/dev/null; sleep 1'
migrate () { "$top_srcdir/examples/migrate-live.sh" base.img change.vmdk small/local.raw -- "${qemu_args[@]}" 7>&- 8>&-; }

expect_fail 'the copy failed: No space left on device' migrate
cat output
qemu_pid=$(cat state/qemu.pid)
wait_console '^GUEST beat 3'
check_guest_found
# Again, and still no room.
expect_fail 'the copy failed: No space left on device' migrate
n=$(beats)
wait_console "^GUEST beat $((n + 2))\$"

mount -o remount,size=128m small
migrate
n=$(beats)
wait_console "^GUEST beat $((n + 2))\$"
wait_off
[ "$(sed -n 's/^GUEST boots //p' console)" = 1 ] || fail 'the guest was started again'
unchanged
check_written small/local.raw
