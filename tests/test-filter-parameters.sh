#!/bin/bash
# Parameters: missing, repeated, unknown, out of range.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/drive/fixture.sh"
need filter mkimage nbdcopy

simple
expect_fail 'needs delta=FILE' nbdkit_run file base.raw --run true
expect_fail "unknown parameter 'delta-xyz'" nbdkit_run file base.raw delta=x.vmdk delta-xyz=1 --run true
# What is not ours goes to the plugin.
expect_fail "unknown parameter 'deltas'|unknown parameter" nbdkit_run file base.raw delta=x.vmdk deltas=1 --run true
for key in delta-follow delta-allow-short-base delta-allow-no-parent delta-allow-dirty \
           delta-ignore-cid delta-unconfined; do
    expect_fail "$key.* given twice" \
        nbdkit_run file base.raw delta=x.vmdk $key=true $key=true --run true
    expect_fail 'boolean|could not decipher' nbdkit_run file base.raw delta=x.vmdk $key=perhaps --run true
    nbdkit_run file base.raw delta=x.vmdk $key=true --run true
done
expect_fail 'given twice' \
    nbdkit_run file base.raw delta=x.vmdk delta-cache-size=1M delta-cache-size=1M --run true
expect_fail 'could not parse|size' nbdkit_run file base.raw delta=x.vmdk delta-cache-size=much --run true
expect_fail 'too small' nbdkit_run file base.raw delta=x.vmdk delta-cache-size=1000 --run true
nbdkit_run file base.raw delta=x.vmdk delta-cache-size=1M --run 'nbdcopy "$uri" out.raw'
same expected.raw out.raw
