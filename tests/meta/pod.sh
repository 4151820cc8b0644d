#!/bin/bash
# The manual pages are correct POD.
. "$top_srcdir/tests/lib.sh"
shopt -s nullglob
cd "$top_srcdir"

for page in docs/*.pod; do
    podchecker -warnings -warnings "$page" 2>&1 | tee -a "$T/log"
done
! grep -E 'WARNING|ERROR' "$T/log" /dev/null || fail 'podchecker complains'
