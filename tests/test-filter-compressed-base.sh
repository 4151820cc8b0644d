#!/bin/bash
# The base may be compressed: a filter below ours takes care of that.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/drive/fixture.sh"
need filter mkimage nbdcopy xz gzip nbdkit:filter:xz nbdkit:filter:gzip

simple
xz -k --block-size=256KiB base.raw
nbdkit_run --filter=xz file base.raw.xz delta=x.vmdk --run 'nbdcopy "$uri" out.raw'
same expected.raw out.raw
rm base.raw.xz
gzip -1 base.raw
nbdkit_run --filter=gzip file base.raw.gz delta=x.vmdk --run 'nbdcopy "$uri" out.raw'
same expected.raw out.raw
