#!/bin/bash
# Several deltas are given oldest first; another order is refused.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/drive/fixture.sh"
need filter mkimage nbdcopy

base
delta a cowd --cid=0000000a --seed=1
delta bb sesparse --cid=0000000b --parent-cid=0000000a --seed=2 --layer=2
delta ccc kdmv --cid=0000000c --parent-cid=0000000b --seed=3 --layer=3
cp base.raw expected.raw
overlay expected.raw a.raw bb.raw ccc.raw

nbdkit_run file base.raw delta=a.vmdk delta=bb.vmdk delta=ccc.vmdk --run 'nbdcopy "$uri" out.raw'
same expected.raw out.raw

expect_fail 'a\.vmdk was made on content 01234567 .*bb\.vmdk has content 0000000b .*order is wrong' \
    nbdkit_run file base.raw delta=bb.vmdk delta=a.vmdk --run true
expect_fail 'ccc\.vmdk was made on content 0000000b .*a\.vmdk has content 0000000a' \
    nbdkit_run file base.raw delta=a.vmdk delta=ccc.vmdk --run true
expect_fail 'same file' nbdkit_run file base.raw delta=a.vmdk delta=a.vmdk --run true

# On request, whatever the CIDs are.
cp base.raw expected.raw
overlay expected.raw a.raw ccc.raw
nbdkit_run file base.raw delta=a.vmdk delta=ccc.vmdk delta-ignore-cid=true \
    --run 'nbdcopy "$uri" out.raw'
same expected.raw out.raw
