#!/bin/bash
# The filter is given once: a second one would share its state.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/drive/fixture.sh"
need filter mkimage

simple
expect_fail 'given 2 times; give it once' \
    nbdkit_run --filter="$FILTER" file base.raw delta=x.vmdk --run true
expect_fail 'given 3 times; give it once' \
    nbdkit_run --filter="$FILTER" --filter="$FILTER" file base.raw delta=x.vmdk --run true
