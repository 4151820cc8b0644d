#!/bin/bash
# A dry run changes nothing, and what it counts is what then happens.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/merge.sh"
need tool plugin xz nbdcopy

number () { sed -n "s/^ *\"$2\": \([0-9]*\),*\$/\1/p" "$1"; }

for name in vb-vdi-tiny-2 q72-zeroed-4 fc-esxi-flat-cowd-3; do
    unpack "$name"
    for options in '' --skip=1 --count=1 --compact; do
        rm -rf "$T/x"; cp -r --sparse=always . "$T/x"
        settled "$T"/x/*    # what is counted are blocks, too
        "$TOOL" merge --dry-run --json $options "$T/x/${chain[-1]}" > "$T/dry"
        for file in *; do same "$file" "$T/x/$file"; done
        [ "$(ls -A "$T/x" | wc -l)" = "$(ls -A | wc -l)" ] || fail 'a dry run left something'
        target=$(sed -n 's/^ *"target": "\(.*\)",$/\1/p' "$T/dry")
        before=$(stat -c %s "$target")
        "$TOOL" merge --json $options "$T/x/${chain[-1]}" > "$T/wet"
        # Random identities apart, the same was told.
        diff <(grep -v '"written"' "$T/dry") <(grep -v '"written"' "$T/wet") || fail "$name $options: other numbers"
        grep -q '"written": true' "$T/wet"
        if [ "$options" != --compact ] && [ "$name" != fc-esxi-flat-cowd-3 ]; then
            [ $(($(stat -c %s "$target") - before)) = "$(number "$T/dry" growth)" ] ||
                fail "$name $options: the target grew otherwise"
        fi
        total=$(($(number "$T/dry" data-bytes) + $(number "$T/dry" zero-bytes)))
        [ "$(number "$T/dry" one-by-one-bytes)" -ge $total ] || fail 'one by one would be less'
    done
done
