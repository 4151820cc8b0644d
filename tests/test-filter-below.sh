#!/bin/bash
# Filters below that take something away: noparallel, noextents, nocache.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/drive/fixture.sh"
need filter mkimage nbdcopy nbdinfo

simple
for below in '--filter=noparallel' '--filter=noextents' '--filter=nocache' \
             '--filter=noextents --filter=noparallel --filter=nocache'; do
    # shellcheck disable=SC2086  # several words
    serve $below file base.raw delta=x.vmdk
    nbdcopy --connections=2 "$uri" out.raw
    same expected.raw out.raw
    nbdinfo --map "$uri" >/dev/null
    stop
done
