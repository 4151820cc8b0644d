#!/bin/bash
# The filter is fully parallel; below it, what is not stays serial.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/drive/fixture.sh"
need filter mkimage nbdcopy

simple
nbdkit_run -v file base.raw delta=x.vmdk --run 'nbdcopy "$uri" out.raw' 2>log
grep -q 'using thread model: parallel' log || fail "$(grep 'thread model' log)"
same expected.raw out.raw
nbdkit_run -v --filter=noparallel file base.raw delta=x.vmdk serialize=all-requests \
    --run 'nbdcopy "$uri" out.raw' 2>log
grep -q 'using thread model: serialize_all_requests' log || fail "$(grep 'thread model' log)"
same expected.raw out.raw
