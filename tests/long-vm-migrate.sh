#!/bin/bash
# examples/migrate-live.sh: a Linux guest starts on base and delta, and its disk is
# copied to a local one while it runs.  First all is killed in the middle of that; the
# second run goes on to the end, to the local disk alone.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/vm/lib.sh"
. "$top_srcdir/tests/doc.sh"
need filter tool socat setsid
need_vm
installed

guest 192
serial
# Slower than the guest boots, however busy the machine is; later it is made faster, with
# a second monitor.
export SPEED=1000000
qemu_args+=(-qmp "unix:$T/qmp2,server=on,wait=off")
faster () {
    { echo '{"execute":"qmp_capabilities"}'
      echo '{"execute":"block-job-set-speed","arguments":{"device":"migrate","speed":16000000}}'
      sleep 1
    } | socat - "UNIX-CONNECT:$T/qmp2" > qmp2.log
    [ "$(grep -c '"return"' qmp2.log)" = 2 ] || { cat qmp2.log; fail 'block-job-set-speed'; }
}
migrate () { "$top_srcdir/examples/migrate-live.sh" base.img change.vmdk local.raw -- "${qemu_args[@]}" 7>&- 8>&-; }
on_exit 'for f in local.raw.migrate/*.pid; do kill "$(cat "$f")"; done 2>/dev/null'
pid_of () { cat "local.raw.migrate/$1.pid"; }
# The machine is a daemon, so it is known when it has started.
started () {  # LOG
    local i
    for ((i = 0; i < 600; i++)); do ! grep -q 'the guest runs$' "$1" || break; sleep 0.1; done
    qemu_pid=$(pid_of qemu) || { cat "$1"; fail 'the machine does not start'; }
}

migrate > first.log 2>&1 &
script=$!
started first.log
wait_console '^GUEST beat 3'
check_guest_found
! grep -q 'changing over' first.log || fail 'the copy was faster than the guest: make SPEED smaller'
kill -KILL "$qemu_pid" "$(pid_of nbdkit)"
status=0
wait $script || status=$?
[ $status -eq 1 ] || { cat first.log; fail "the script ended with status $status"; }
unchanged

echo '---- again'
mv console console.1
mv times times.1
migrate > second.log 2>&1 &
script=$!
started second.log
wait_console '^GUEST boots 2'  # what it wrote in the first run is there
wait_console '^GUEST beat 2'
! grep -q 'changing over' second.log || fail 'the copy was faster than the guest: make SPEED smaller'
before=$(beats)
faster
wait $script || { cat second.log; fail "the script ended with status $?"; }
cat second.log
during=$(($(beats) - before))
[ $during -ge 3 ] || fail "only $during beats while the disk was copied"
[ ! -e local.raw.migrate/overlay.qcow2 ] || fail 'the overlay is still there'
! [ -e local.raw.migrate/nbdkit.pid ] || fail 'nbdkit still runs'

# It goes on without base and delta.
mv base.img base.away
mv change.vmdk delta.away
n=$(beats)
wait_console "^GUEST beat $((n + 3))\$"
check_guest_found
wait_off
gap=$(longest_gap)
echo "$during beats while the disk was copied; the longest time between two of them is $gap s"
awk "BEGIN { exit !($gap < 10) }" || fail 'the guest stood still'
mv base.away base.img
mv delta.away change.vmdk
unchanged
check_written local.raw

# Completed is completed.
expect_fail 'completed by an earlier run' migrate
