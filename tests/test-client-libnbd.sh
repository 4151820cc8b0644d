#!/bin/bash
# Clients: nbdinfo and nbdcopy, in their modes.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/drive/served.sh"
need nbdinfo nbdcopy nbdkit:plugin:memory

read_it () {
    [ "$(nbdinfo --size "$uri")" = 4194304 ] || fail 'nbdinfo --size'
    nbdinfo --is read-only "$uri" || fail 'nbdinfo: not read-only'
    nbdinfo --can multi-conn "$uri" || fail 'nbdinfo: no multi-conn'
    nbdinfo --json "$uri" | grep -q '"export-size": 4194304' || fail 'nbdinfo --json'
    # Everything once, without a gap.
    nbdinfo --map "$uri" |
        awk '$1 != at { exit 1 } { at += $2 } END { exit at != 4194304 }' || fail 'nbdinfo --map'
    for mode in '' --synchronous --connections=4 '--threads=2 --requests=1' --no-extents \
                --allocated --sparse=0 --destination-is-zero; do
        rm -f out.raw
        # shellcheck disable=SC2086  # words
        nbdcopy $mode "$uri" out.raw
        same expected.raw out.raw
    done
    nbdcopy "$uri" - | cat > out.raw
    same expected.raw out.raw
    nbdcopy "$uri" null:
}
for_both read_it

# From NBD to NBD.
serve file base.raw delta=x.vmdk
from=$uri
start memory 4M
nbdcopy "$from" "$uri"
nbdcopy "$uri" out.raw
same expected.raw out.raw
