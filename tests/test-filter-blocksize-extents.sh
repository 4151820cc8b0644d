#!/bin/bash
# A base with a minimum block size is asked for block status in whole blocks.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/drive/fixture.sh"
need filter mkimage nbdcopy nbdinfo nbdkit:filter:blocksize-policy

simple
nbdkit_run file base.raw delta=x.vmdk --run 'nbdinfo --map "$uri"' > expected.map
for minimum in 512 4096 65536; do
    serve --filter=blocksize-policy file base.raw delta=x.vmdk \
        blocksize-minimum="$minimum" \
        blocksize-preferred=$((minimum > 4096 ? minimum : 4096)) blocksize-error-policy=error
    nbdinfo --map "$uri" > map
    same expected.map map
    nbdcopy "$uri" out.raw
    same expected.raw out.raw
    stop
done
