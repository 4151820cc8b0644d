#!/bin/bash
# Started from a relative path, in the background: nbdkit changes its directory.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/drive/fixture.sh"
need filter mkimage nbdcopy

simple
mkdir sub
cd sub
pid=$T/d.pid sock=$T/d.sock
on_exit '[ ! -s "$T/d.pid" ] || kill "$(cat "$T/d.pid")"'
env ${NBDKIT_PRELOAD:+LD_PRELOAD=$NBDKIT_PRELOAD} nbdkit -U "$sock" -P "$pid" \
    --filter="$FILTER" file ../base.raw delta=../x.vmdk
await test -s "$pid"
[ "$(readlink "/proc/$(cat "$pid")/cwd")" = / ] || fail 'it is not in the root directory'
nbdcopy "nbd+unix://?socket=$sock" "$T/out.raw"
same "$T/expected.raw" "$T/out.raw"
