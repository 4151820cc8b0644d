#!/bin/bash
# --help names every parameter, --dump-plugin (nbdkit >= 1.36) tells version and formats.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/drive/fixture.sh"
need filter

nbdkit --filter="$FILTER" null --help > help
# The table in the source is the one that parses.
keys=$(sed -n 's/^ *X ("\([a-z-]*\)".*/\1/p' "$top_srcdir/filter/filter-config.c")
[ "$(wc -w <<< "$keys")" -ge 7 ] || fail "keys: $keys"
for key in $keys; do grep -q -e "$key=" help || fail "--help does not name $key"; done
! grep -n '.\{81\}' help || fail 'lines over 80 characters'

minor=$(nbdkit --dump-config | sed -n 's/^version_minor=//p')
nbdkit --filter="$FILTER" null --dump-plugin > dump
if [ "$minor" -ge 36 ]; then
    grep -q '^vmdkdelta_version=[0-9]' dump || fail "$(cat dump)"
    formats=$(sed -n 's/^vmdkdelta_formats=//p' dump)
    for format in cowd kdmv sesparse stream flat zero; do
        grep -qiw "$format" <<< "$formats" || [ $format = kdmv ] || [ $format = stream ] ||
            fail "no $format in: $formats"
    done
else
    ! grep -q vmdkdelta_ dump || fail 'this nbdkit does not ask filters'
fi
