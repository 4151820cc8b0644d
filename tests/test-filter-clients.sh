#!/bin/bash
# Several clients at once; one that is killed does no harm to the others.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/drive/fixture.sh"
need filter mkimage nbdcopy nbdkit:filter:delay

simple
serve file base.raw delta=x.vmdk
pids=()
for i in 1 2 3 4; do nbdcopy "$uri" "out$i.raw" & pids+=($!); done
for pid in "${pids[@]}"; do wait "$pid" || fail 'a client failed'; done
for i in 1 2 3 4; do same expected.raw "out$i.raw"; done
stop

# Killed in the middle of a read: the base takes a second to answer.  (One read: with
# several, nbdkit 1.32 itself can run into "raw_send_socket: Assertion `sock >= 0'".)
serve --filter=delay file base.raw delta=x.vmdk rdelay=1
for i in 1 2 3; do
    "$builddir/tests/read-range" "$uri" 0 1048576 > piece &
    pid=$!
    sleep 0.3
    kill -KILL $pid
    wait $pid 2>/dev/null || :
done
kill -0 "$server_pid" || fail 'the server is gone'
nbdcopy "$uri" out.raw
same expected.raw out.raw
