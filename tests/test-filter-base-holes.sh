#!/bin/bash
# Between the grains of a delta the base's holes stay holes, and its data data.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/drive/fixture.sh"
need filter mkimage nbdinfo

truncate -s 4M base.raw
delta x cowd --runs=1 --fill=50   # every second sector, by chance
nbdkit_run file base.raw delta=x.vmdk --run 'nbdinfo --map --totals "$uri"' > totals
awk '$3 == 3 { hole = $1 } $3 == 0 { data = $1 }
     END { if (hole + data != 4194304 || hole < 1800000 || hole > 2400000) exit 1 }' totals ||
    fail "totals: $(cat totals)"

# The same over a base that is data all over: nothing may be called a hole.
head -c 4M /dev/urandom > base.raw
nbdkit_run file base.raw delta=x.vmdk --run 'nbdinfo --map --totals "$uri"' > totals
[ "$(awk '{ print $1, $3 }' totals)" = '4194304 0' ] || fail "totals: $(cat totals)"

# And over one without block status.
nbdkit_run --filter=noextents file base.raw delta=x.vmdk --run 'nbdinfo --map --totals "$uri"' > totals
[ "$(awk '{ print $1, $3 }' totals)" = '4194304 0' ] || fail "totals: $(cat totals)"
