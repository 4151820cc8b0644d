#!/bin/bash
# An NBD export as a file of the tool (remote/nbd.c): servers with and without
# multi-conn, with a smallest block, with a largest request, read-only.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need nbdkit
drive=$builddir/tests/nbd-file
[ -x "$drive" ] || skip "nbd-file is not built"

# run CONNECTIONS EXTENTS: the driver on $uri.
run () {
    local out
    out=$("$drive" "$uri" 4 150 "$RANDOM") || fail "nbd-file"
    [ "$out" = "$1 connections, 600 operations, extents $2" ] ||
        fail "unexpected: $out"
}

start memory 33M; run 4 yes; stop
start --filter=noparallel memory 33M serialize=connections; run 1 yes; stop

if nbdkit --filter=blocksize-policy null --version >/dev/null 2>&1; then
    # Anything that is not whole blocks is an error here.
    for min in 512 4096 65536; do
        start --filter=blocksize-policy memory 33M blocksize-minimum=$min \
            blocksize-preferred=65536 blocksize-maximum=1M \
            blocksize-error-policy=error
        run 4 yes
        stop
    done
    # The export ends in the middle of a block.
    start --filter=blocksize-policy memory $((20 * 1024 * 1024 + 4 * 128)) \
        blocksize-minimum=512 blocksize-maximum=256K \
        blocksize-error-policy=error
    run 4 yes
    stop
fi

start -r memory 1M
expect_fail "the server offers this export read-only" "$drive" "$uri" 1 1 1
stop
expect_fail "cannot connect" "$drive" "nbd+unix:///?socket=$T/none" 1 1 1

start --filter=error memory 33M error-pwrite=EIO error-pwrite-rate=100%
expect_fail "at byte [0-9]+: .*cannot write.*Input/output error" \
    "$drive" "$uri" 1 150 1
stop
