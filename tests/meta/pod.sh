#!/bin/bash
# The manual pages are correct POD; each verb's page explains the JSON keys that the verb
# prints, and that of check all kinds of findings.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
shopt -s nullglob
cd "$top_srcdir"
bad=0
complain () { echo "$*"; bad=1; }

for page in docs/*.pod; do
    podchecker -warnings -warnings "$page" 2>&1 | tee -a "$T/log"
done
! grep -E 'WARNING|ERROR' "$T/log" /dev/null || fail 'podchecker complains'

# The page that explains what a file of tool/ prints.
page_of () {
    local verb=${1#tool/}
    verb=${verb#verb-} verb=${verb%.c} verb=${verb%%-*}
    case $verb in machine|vmware) verb=info ;; esac
    echo "docs/vmdkdelta-$verb.pod"
}
n=0
for file in tool/*.c; do
    perl -0777 -ne 'while (/json_\w+\s*\(\s*&?j\s*,\s*"([\w-]+)"/g) { print "$1\n" }' "$file" | sort -u > "$T/keys"
    [ -s "$T/keys" ] || continue
    page=$(page_of "$file")
    [ -e "$page" ] || { complain "$file prints JSON: there is no page $page to explain it"; continue; }
    while read -r key; do
        grep -q "C<$key>" "$page" || complain "$page does not explain \"$key\", which $file prints in JSON"
        n=$((n + 1))
    done < "$T/keys"
done
[ $n -ge 120 ] || fail "only $n keys of JSON were found"

# Kinds of findings: the same in the program and in the page.
perl -0777 -ne 'while (/\[VD_CHECK_\w+\] = \{ "([a-z0-9-]+)"/g) { print "$1\n" }' lib/check/*.c | sort > "$T/kinds"
[ "$(wc -l < "$T/kinds")" -ge 25 ] || fail 'which kinds of findings are there?'
awk '/^=head1/ { on = ($0 == "=head1 FINDINGS") } on' docs/vmdkdelta-check.pod |
    sed -n 's/^=item C<\(.*\)>$/\1/p' | sort | diff "$T/kinds" - ||
    complain 'kinds of findings in the program (<) and in docs/vmdkdelta-check.pod (>) differ'

[ $bad -eq 0 ] || fail 'the manual pages are not up to date, see above'
