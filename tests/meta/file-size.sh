#!/bin/bash
# A source file fits in one reading: at most 500 lines.
. "$top_srcdir/tests/lib.sh"
shopt -s nullglob
cd "$top_srcdir"

long=$(wc -l lib/*.[ch] common/*.[ch] filter/*.[ch] plugin/*.[ch] tool/*.[ch] /dev/null |
    awk '$1 > 500 && $2 != "total"')
[ -z "$long" ] || fail "more than 500 lines:
$long"
