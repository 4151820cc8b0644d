#!/bin/bash
# An SEsparse file with a journal to be replayed is refused, unless it is asked for.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/drive/fixture.sh"
need filter mkimage nbdcopy

simple sesparse
poke x-sesparse.vmdk 536 01
expect_fail 'x-sesparse\.vmdk was not closed cleanly: its journal has to be replayed' \
    nbdkit_run file base.raw delta=x.vmdk --run true
expect_fail 'was not closed cleanly' \
    nbdkit_run file base.raw delta=x.vmdk delta-allow-dirty=false --run true
nbdkit_run file base.raw delta=x.vmdk delta-allow-dirty=true --run 'nbdcopy "$uri" out.raw' 2>log
grep -q 'warning: .*x-sesparse\.vmdk: its journal was not replayed' log || fail "no warning: $(cat log)"
same expected.raw out.raw
