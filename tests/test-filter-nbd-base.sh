#!/bin/bash
# The base may be served by another NBD server.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/drive/fixture.sh"
need filter mkimage nbdcopy nbdinfo nbdkit:plugin:nbd

simple
start file base.raw
base_sock=$sock
serve nbd socket="$base_sock" delta=x.vmdk
nbdcopy "$uri" out.raw
same expected.raw out.raw
# Its holes come through.
nbdinfo --map --totals "$uri" | grep -q 'hole,zero' || fail 'no holes'
