#!/bin/bash
# bash completes verbs, options and their values.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need tool
. "$top_srcdir/tool/completion"

# complete_words WORD...: what completion offers for the last one.
complete_words () {
    COMP_WORDS=("$TOOL" "$@")
    COMP_CWORD=$#
    COMPREPLY=()
    _vmdkdelta
    printf '%s\n' "${COMPREPLY[@]}"
}
offers () { grep -qx -e "$1" words || { cat words; fail "$1 is not offered"; }; }

complete_words in > words
[ "$(cat words)" = info ]
complete_words '' > words
for verb in $("$TOOL" --verbs) --help --version help; do offers "$verb"; done
complete_words help m > words
offers map
complete_words map --pic > words
offers --picture
for verb in $("$TOOL" --verbs); do
    complete_words "$verb" - > words
    for option in $("$TOOL" "$verb" --long-options); do offers "$option"; done
done
complete_words map --color = a > words
[ "$(tr '\n' ' ' < words)" = 'auto always ' ]
complete_words create --format = s > words
[ "$(tr '\n' ' ' < words)" = 'sparse stream ' ]
complete_words check --tables = '' > words
[ "$(tr '\n' ' ' < words)" = 'first copy markers ' ]
mkdir dir
touch disk.vmdk
complete_words info d > words
offers disk.vmdk
complete_words info --parent-path = d > words
[ "$(cat words)" = dir ]
