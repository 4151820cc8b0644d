#!/bin/bash
# The parameters that a module's --help lists are those in its manual page, both
# ways, and all of them are in its synopsis.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need filter plugin

# Keys in the help text of the module: lines "key=..." or "[key=]..." in its part.
help_keys () {  # WHAT ("filter: NAME" or "plugin: NAME"), from stdin
    awk -v what="$1" '/^(filter|plugin): / { on = ($0 ~ "^" what "( |$)"); next } on' |
        sed -n 's/^\[\{0,1\}\([a-z][a-z0-9-]*\)=.*/\1/p' | sort -u
}

# Keys in the PARAMETERS of a manual page: =item B<key=>VALUE, =item [B<key=>]VALUE.
page_keys () {  # FILE
    awk '/^=head1/ { on = ($2 == "PARAMETERS") } on' "$1" |
        sed -n 's/^=item \[\{0,1\}B<\([a-z][a-z0-9-]*\)=.*/\1/p' | sort -u
}

compare () {  # PAGE; keys of the help text in file "help"
    local key page=$top_srcdir/docs/$1
    page_keys "$page" > page
    [ -s help ] || fail "no parameters in the help text for $1"
    diff help page || fail "parameters in --help (<) and in $1 (>) differ"
    while read -r key; do
        awk '/^=head1/ { on = ($2 == "SYNOPSIS") } on' "$page" | grep -q -e "[[ ]$key=" ||
            fail "$key is not in the synopsis of $1"
    done < page
    echo "$(wc -l < page) parameters: $1"
}

nbdkit --filter="$FILTER" null --help | help_keys 'filter: vmdkdelta' > help
compare nbdkit-vmdkdelta-filter.pod
nbdkit "$PLUGIN" --help | help_keys 'plugin: vmdk' > help
compare nbdkit-vmdk-plugin.pod

# What --dump-plugin adds is in the page too.
nbdkit "$PLUGIN" --dump-plugin | sed -n 's/^\(vmdk_[a-z]*\)=.*/\1/p' | sort > help
sed -n 's/^=item B<\(vmdk_[a-z]*\)=.*/\1/p' "$top_srcdir/docs/nbdkit-vmdk-plugin.pod" | sort | diff help - ||
    fail '--dump-plugin (<) and the manual page (>) differ'
[ -s help ] || fail '--dump-plugin adds nothing'
