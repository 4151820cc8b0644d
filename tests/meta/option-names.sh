#!/bin/bash
# Messages of the library name options as the front end spells them: tables=copy in the
# plugin, delta-tables=copy in the filter, --tables=copy in the command.  So each stands
# behind "%s", for vd_opts_prefix; and all three front ends have it.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
cd "$top_srcdir"
bad=0
complain () { echo "$*"; bad=1; }

# The options of a front end, without its prefix.
plugin=$(sed -n 's/^  X ("\([a-z-]*\)".*/\1/p' plugin/plugin-config.c)
filter=$(sed -n 's/^  X ("delta-\([a-z-]*\)".*/\1/p' filter/filter-config.c)
tool=$(sed -n 's/^  { "\([a-z-]*\)", [a-z]*_argument.*/\1/p' tool/tool.h)
all=$(sort -u <<< "$plugin
$filter
$tool" | grep -vxE 'file|dir|export|write|help|follow|parent|(long|short)-options' | paste -sd '|')
[[ $all == *tables* && $all == *parent-path* && $all == *unconfined* ]] || fail "which options are there?  $all"

# strings_of FILE...: "FILE:LINE:" and what is between quotation marks.
strings_of () { grep -nHoE '"([^"\\]|\\.)*"' "$@" | grep -v '#include'; }

# bare: those that name an option as if no front end had a prefix.
bare () { grep -E "(\"|[ (;])($all)=" || :; }
[ "$(echo 'x.c:1:"; tables=copy reads by the other one"' | bare)" ] || fail 'it finds nothing'
[ ! "$(echo 'x.c:1:"; %stables=copy reads by the other one"' | bare)" ] || fail 'it finds too much'
while IFS= read -r hit; do
    complain "an option without its prefix (vd_opts_prefix): $hit"
done < <(strings_of lib/*/*.c common/*.c remote/*.c | bare)

# The filter knows nothing of machines.
while read -r name; do
    for face in plugin filter tool; do
        if [ $face = filter ] && [ "$name" = registry ]; then continue; fi
        grep -qx -- "$name" <<< "${!face}" || complain "a message of the library names $name, which the $face does not have"
    done
done < <(strings_of lib/*/*.c | grep -oE "%s($all)\b" | sed 's/^%s//' | sort -u)
[ $bad -eq 0 ] || fail 'see above'
