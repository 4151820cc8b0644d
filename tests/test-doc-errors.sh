#!/bin/bash
# The messages that the manual pages explain are messages of the program: each part
# of an "=item" in ERRORS, between "..." and the letters M, N, X, Y that stand for
# values, is found in a string of the source.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need perl

# messages PAGE DIR: those of the page are in the library, in common/ or in DIR.
messages () {
    local page=$top_srcdir/docs/$1 item part
    # All strings of the source; the pieces of one that is broken in lines are joined.
    perl -0777 -pe 's/"\s*\n\s*"//g' "$top_srcdir"/{lib/*,common,"$2"}/*.c > source
    awk '/^=head1/ { on = ($2 == "ERRORS") } on' "$page" | sed -n 's/^=item //p' > items
    [ -s items ] || fail "no errors in $1"
    while read -r item; do
        case $item in
            'filter is incompatible with this version of nbdkit') continue ;;  # nbdkit says it
        esac
        sed -e 's/^warning: //' -e 's/\.\.\.\|\<[MNXY]\>/\n/g' <<< "$item" |
            sed -e 's/^ *//' -e 's/ *$//' | grep -E '.{8}' > parts || fail "nothing to look for in: $item"
        while read -r part; do
            grep -qF -e "$part" source || fail "$1: no message says \"$part\" ($item)"
        done < parts
    done < items
    echo "$(wc -l < items) messages: $1"
}

messages nbdkit-vmdkdelta-filter.pod filter
messages nbdkit-vmdk-plugin.pod plugin
