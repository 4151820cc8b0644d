#!/bin/bash
# SIGTERM and SIGINT end the server in an orderly way.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/drive/fixture.sh"
need filter mkimage nbdcopy

# nbdkit does not free a connection that is just being closed when it ends.
export ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0

simple
for signal in TERM INT QUIT; do
    serve file base.raw delta=x.vmdk
    nbdcopy "$uri" out.raw
    same expected.raw out.raw
    kill -$signal "$server_pid"
    status=0
    wait "$server_pid" || status=$?
    [ $status -eq 0 ] || fail "SIG$signal: status $status"
    servers=()
done
