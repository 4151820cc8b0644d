#!/bin/bash
# docs/troubleshooting.md explains messages that the program has: each part of a heading
# in backquotes, between "..." and the letters N, M, X, Y that stand for values, is found
# in a string of the source.  Headings that begin with the name of another program are
# that program's messages.  What the manual pages explain stands there too.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need perl

page=$top_srcdir/docs/troubleshooting.md
# The pieces of a string that is broken in lines are joined.
perl -0777 -pe 's/"\s*\n\s*"//g; s/\\"/"/g; s/" PRI\w+\s*"/d/g' \
    "$top_srcdir"/{lib/*,common,filter,plugin,tool}/*.c > source
n=0
while read -r heading; do
    case $heading in
        nbdkit:*|nbdcopy:*|QEMU:*) continue ;;
    esac
    [[ $heading = \`*\` ]] || fail "not a message in backquotes: $heading"
    tr -d '\`' <<< "$heading" | sed -e 's/\.\.\.\|\<[MNXY]\>/\n/g' | sed -e 's/^ *//' -e 's/ *$//' |
        grep -E '.{8}' > parts || fail "nothing to look for in: $heading"
    while read -r part; do
        grep -qF -e "$part" source || fail "no message says \"$part\": $heading"
    done < parts
    n=$((n + 1))
done < <(sed -n 's/^### //p' "$page")
[ $n -ge 25 ] || fail "only $n messages"

sed -n 's/^### //p' "$page" > headings
for pod in "$top_srcdir"/docs/nbdkit-*.pod; do
    awk '/^=head1/ { on = ($2 == "ERRORS") } on' "$pod" | sed -n 's/^=item //p' > items
    [ -s items ] || fail "no errors in $pod"
    while read -r item; do
        part=$(sed -e 's/^warning: //' -e 's/\.\.\.\|\<[MNXY]\>/\n/g' <<< "$item" | sed -e 's/^ *//' -e 's/ *$//' |
            grep -m 1 -E '.{8}')
        grep -qF -e "$part" headings || fail "docs/troubleshooting.md lacks \"$part\" of ${pod##*/}"
    done < items
done
echo "$n messages"
