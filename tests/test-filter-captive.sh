#!/bin/bash
# nbdcopy and nbdinfo start nbdkit themselves.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/drive/fixture.sh"
need filter mkimage nbdcopy nbdinfo

simple
command=(nbdkit --filter="$FILTER" file base.raw delta=x.vmdk)
[ -z "${NBDKIT_PRELOAD:-}" ] || command=(env LD_PRELOAD="$NBDKIT_PRELOAD" "${command[@]}")
nbdcopy -- [ "${command[@]}" ] out.raw
same expected.raw out.raw
[ "$(nbdinfo --size -- [ "${command[@]}" ])" = 4194304 ] || fail size
