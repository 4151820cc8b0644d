#!/bin/bash
# The options of each verb are the same in the program, in its --help and in the
# manual page.
. "$top_srcdir/tests/lib.sh"
need tool
page=$top_srcdir/docs/vmdkdelta.pod

# items HEADING: the options among the items of a section.
items () {
    awk -v head="=head1 $1" '/^=head1/ { on = ($0 == head) } on && /^=item/' "$page" |
        grep -Eo 'B<--?[A-Za-z][a-z-]*' | sed 's/^B<//' || :
}

chain=$(items 'OPTIONS FOR OPENING CHAINS' | sort)
[ "$chain" ] || fail 'no options for chains in the manual page'
items 'GENERAL OPTIONS' > general

same_lists () {  # LEFT RIGHT WHERE
    diff <(sort -u <<< "$1") <(sort -u <<< "$2") ||
        fail "options of the program (<) and in $3 (>) differ"
}

for verb in $("$TOOL" --verbs); do
    has=$("$TOOL" "$verb" --long-options; "$TOOL" "$verb" --short-options)
    # Indented by two are options; by more, their text.
    help=$("$TOOL" "$verb" --help |
        awk '/^Options:/ { on = 1 } /^Examples:/ { on = 0 } on' |
        grep -Eo '^  (-[A-Za-z], )?--?[A-Za-z][a-z-]*' | grep -Eo -e '--[a-z-]+|-[A-Za-z]'; echo --help)
    same_lists "$has" "$help" "$verb --help"

    manual=$(items "vmdkdelta $verb"; echo --help)
    if grep -qx -e --parent-path <<< "$has"; then manual+=$'\n'$chain; fi
    same_lists "$has" "$manual" "$page, section 'vmdkdelta $verb'"
    grep -q "^ vmdkdelta $verb " "$page" || fail "$verb is not in the synopsis"
    echo "$verb: $(wc -l <<< "$has") options"
done

same_lists "$("$TOOL" --long-options; echo --long-options; echo --short-options; echo --verbs)" \
    "$(cat general)" "$page, GENERAL OPTIONS"
