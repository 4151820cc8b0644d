#!/bin/bash
# A verb says the same of itself in the program, in its --help and in its manual page:
# summary, usage and options.  vmdkdelta(1) lists all verbs, and the common options.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need tool perl
main=$top_srcdir/docs/vmdkdelta.pod

# section PAGE HEADING: that part of a page, down to the next heading of its level.
section () {
    awk -v head="$2" '/^=head/ { if ($0 == head) { on = 1; level = $1; next } if ($1 <= level) on = 0 } on' "$1"
}
# items PAGE HEADING: the options among the items of a section.
items () { section "$1" "$2" | grep '^=item' | grep -Eo 'B<--?[A-Za-z][a-z-]*' | sed 's/^B<//' || :; }

same_lists () {  # LEFT RIGHT WHERE
    diff <(sort -u <<< "$1") <(sort -u <<< "$2") ||
        fail "options of the program (<) and in $3 (>) differ"
}

common=$(items "$main" '=head2 Options for opening images')
[ "$common" ] || fail "no options for images in $main"

verbs=$("$TOOL" --verbs)
for verb in $verbs; do
    page=$top_srcdir/docs/vmdkdelta-$verb.pod
    [ -e "$page" ] || fail "there is no page for $verb"
    "$TOOL" "$verb" --help > help
    has=$("$TOOL" "$verb" --long-options; "$TOOL" "$verb" --short-options)

    # Indented by two are options; by more, their text.
    help=$(awk '/^Options:/ { on = 1 } /^Examples:/ { on = 0 } on' help |
        grep -Eo '^  (-[A-Za-z], )?--?[A-Za-z][a-z-]*' | grep -Eo -e '--[a-z-]+|-[A-Za-z]'; echo --help)
    same_lists "$has" "$help" "$verb --help"
    same_lists "$has" "$(items "$page" '=head1 OPTIONS')" "$page"
    if grep -qx -e --parent-path <<< "$has"; then
        [ "$(comm -13 <(sort <<< "$has") <(sort <<< "$common"))" = "" ] || fail "$verb has not all of: $common"
        section "$page" '=head1 OPTIONS' | grep -F 'L<vmdkdelta(1)/Options for opening images>' > link ||
            fail "$page does not say where the options for images are explained"
    fi

    summary=$(sed -n "1s/^vmdkdelta $verb: //p" help)
    [ "$summary" ] || fail "no summary in $verb --help"
    grep -qxF "vmdkdelta-$verb - $summary" "$page" || fail "NAME of $page is not: $summary"
    section "$main" '=head1 VERBS' | grep -A 2 -F "=item L<vmdkdelta-$verb(1)>" | grep -qxF "${summary^}." ||
        fail "$main does not say of $verb: ${summary^}."
    usage=$(sed -n '/^Usage:/{n;s/^ *//p}' help)
    section "$page" '=head1 SYNOPSIS' | grep -qxF " $usage" || fail "SYNOPSIS of $page lacks: $usage"
    echo "$verb: $(wc -l <<< "$has") options"
done

# No page is left of a verb that is gone.
for page in "$top_srcdir"/docs/vmdkdelta-*.pod; do
    verb=$(basename "$page" .pod)
    [ "$verb" != vmdkdelta-hosts ] || continue
    grep -qx "${verb#vmdkdelta-}" <<< "$verbs" || fail "$page is of no verb"
done
same_lists "$(sed 's/.*/L<vmdkdelta-&(1)>/' <<< "$verbs")" \
    "$(section "$main" '=head1 VERBS' | grep -Eo 'L<vmdkdelta-[a-z]*\(1\)>')" "$main, VERBS"

same_lists "$("$TOOL" --long-options; "$TOOL" --short-options; echo --long-options; echo --short-options; echo --verbs)" \
    "$(items "$main" '=head2 General options')" "$main, General options"
