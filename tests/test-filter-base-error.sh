#!/bin/bash
# An error of the base is the client's error, for reads that need the base only.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/drive/fixture.sh"
need filter mkimage nbdkit:filter:error

truncate -s 4M base.raw
delta x kdmv --fill=0
delta full cowd --fill=100
serve --filter=error file base.raw delta=x.vmdk error=EIO error-pread-rate=100% 2>log
expect_fail 'Input/output error' read_range 0 4096
grep -q 'the base .*cannot read' log || fail "the log: $(cat log)"
kill -0 "$server_pid" || fail 'the server is gone'
stop
# The delta holds everything: the base is not read at all.
serve --filter=error file base.raw delta=full.vmdk error=EIO error-pread-rate=100%
read_range 0 4194304 > out.raw
same full.raw out.raw
