#!/bin/bash
# The size is the delta's: a larger base is cut, a smaller one refused or filled.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/drive/fixture.sh"
need filter mkimage nbdcopy nbdinfo

base 6M
delta x cowd
cp base.raw larger.raw
truncate -s 4M larger.raw
overlay larger.raw x.raw

nbdkit_run file base.raw delta=x.vmdk \
    --run '[ "$(nbdinfo --size "$uri")" = 4194304 ] && nbdcopy "$uri" out.raw'
same larger.raw out.raw

# Too small: nbdkit goes on, the client is refused.  Both numbers are named.
truncate -s 3000001 base.raw
serve file base.raw delta=x.vmdk 2>log
expect_fail . nbdinfo --size "$uri"
grep -Eq 'base has 3000001 bytes.* x\.vmdk .*4194304 bytes|base has 3000001 bytes.*4194304 bytes' log ||
    fail "not both sizes in: $(cat log)"
kill -0 "$server_pid" || fail 'the server is gone'
stop

cp base.raw expected.raw
truncate -s 4M expected.raw
overlay expected.raw x.raw
nbdkit_run file base.raw delta=x.vmdk delta-allow-short-base=true --run 'nbdcopy "$uri" out.raw'
same expected.raw out.raw

# An empty base is one too.
: > empty.raw
nbdkit_run file empty.raw delta=x.vmdk delta-allow-short-base=true --run 'nbdcopy "$uri" out.raw'
same x.raw out.raw
