#!/bin/bash
# -D vmdkdelta.map=1 tells how each read is put together.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/drive/fixture.sh"
need filter mkimage

simple
nbdkit_run -f -v -D vmdkdelta.map=1 file base.raw delta=x.vmdk \
    --run "$builddir/tests/read-range \"\$uri\" 0 16384 >/dev/null" 2>log
grep -Eq 'map: [0-9]+\+[0-9]+ base' log || fail 'no base in the log'
grep -Eq 'map: [0-9]+\+[0-9]+ data layer 0 .*x-cowd\.vmdk at [0-9]+' log || fail 'no data in the log'
# All of the range, once.
sed -n 's/.*map: \([0-9]*\)+\([0-9]*\) .*/\1 \2/p' log |
    awk '$1 != at { exit 1 } { at += $2 } END { if (at != 16384) exit 1 }' || fail 'not the whole range'

nbdkit_run -v file base.raw delta=x.vmdk \
    --run "$builddir/tests/read-range \"\$uri\" 0 16384 >/dev/null" 2>log
! grep -q ' map: ' log || fail 'printed without being asked for'
