#!/bin/bash
# The manual pages are correct POD, and tell of each key of JSON.
. "$top_srcdir/tests/lib.sh"
shopt -s nullglob
cd "$top_srcdir"

for page in docs/*.pod; do
    podchecker -warnings -warnings "$page" 2>&1 | tee -a "$T/log"
done
! grep -E 'WARNING|ERROR' "$T/log" /dev/null || fail 'podchecker complains'

# The keys of JSON that the command prints are in its page.
perl -0777 -ne 'while (/json_\w+\s*\(\s*&?j\s*,\s*"([\w-]+)"/g) { print "$1\n" }' tool/*.c | sort -u > "$T/keys"
[ "$(wc -l < "$T/keys")" -ge 90 ] || fail 'which keys are there?'
while read -r key; do
    grep -q "C<$key>" docs/vmdkdelta.pod || fail "docs/vmdkdelta.pod does not tell of \"$key\" in JSON"
done < "$T/keys"
