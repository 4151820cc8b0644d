#!/bin/bash
# The deltas belong to one export: other names are refused, the server goes on.
. "$top_srcdir/tests/lib.sh"
. "$top_srcdir/tests/drive/fixture.sh"
need filter mkimage nbdcopy nbdinfo

simple
mkdir dir
cp base.raw dir/one
cp base.raw dir/two
serve file dir=dir delta=x.vmdk 2>log
name () { echo "nbd+unix:///$1?socket=$sock"; }
# A client that asks for what is not there does not decide which one it is.
expect_fail . nbdinfo --size "$(name none)"
nbdcopy "$(name one)" out.raw
same expected.raw out.raw
expect_fail . nbdinfo --size "$(name two)"
grep -q "export 'two' is refused" log || fail "the log: $(cat log)"
expect_fail . nbdinfo --size "$(name '%1b%5B31mred')"
grep -qF "export '\x1b[31mred' is refused" log || fail "a client's name is not escaped: $(cat -v log)"
expect_fail . nbdinfo --size "$(name three)"
nbdcopy "$(name one)" out.raw
same expected.raw out.raw
