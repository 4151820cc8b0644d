#!/bin/bash
# Names that are made to hurt: terminals, shells and JSON parsers are not hurt.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need tool mkimage qemu-img
esc=$'\033'

# harmless FILE: no control characters but newlines.
harmless () {
    ! LC_ALL=C grep -n "[$(printf '\001-\011\013-\037\177')]" "$1" || fail "active characters in $1"
    if command -v iconv > /dev/null; then iconv -f UTF-8 -t UTF-8 "$1" > /dev/null; fi
}

name="a${esc}[31m\"\\ 'b"$'\xff\xe2\x80\xae'".vmdk"
# A descriptor with control characters is refused, but other bytes can be in it.
hint="p\$(touch x)';"$'\xff\xe2\x80\xae'".vmdk"
"$MKIMAGE" make kdmv x.vmdk --capacity=1M --embedded --parent="$hint" --parent-cid=1 --cid=1
mv x.vmdk "$name"
for args in '--json' '--chain' '' '--json --chain'; do
    # shellcheck disable=SC2086
    "$TOOL" info $args "$name" > out 2> err || [ $? = 1 ]
    [ -s out ] || fail "nothing said: $args"
    harmless out
    harmless err
done
"$TOOL" info --json "$name" > o.json 2> err
grep -qF 'a\u001b[31m\"\\ '"'b"$'\xef\xbf\xbd''\u202e.vmdk' o.json
if command -v jq > /dev/null; then jq -e '.[0].file' o.json > /dev/null; fi
for args in --json '' --picture; do
    # shellcheck disable=SC2086
    "$TOOL" map --no-parents $args "$name" > out 2> err
    harmless out
    harmless err
done
"$TOOL" map --no-parents --picture=p.svg "$name"
harmless p.svg

# The next command, given to a shell, is about this file.
"$TOOL" info "$name" > out 2> err
word=$(sed -n "s/^    nbdkit --filter=vmdkdelta file BASE delta=//p; s/^    vmdkdelta info --chain --parent-path=DIR //p" out | head -n 1)
eval "word=$word"
[ "$word" = "$name" ] || fail "the file in the command is $(printf %q "$word")"

# Its own ancestor.
"$MKIMAGE" make kdmv loop.vmdk --capacity=1M --embedded --parent=loop.vmdk --parent-cid=1 --cid=1
expect_fail 'same file|own ancestor' "$TOOL" info --chain loop.vmdk
"$MKIMAGE" make kdmv l1.vmdk --capacity=1M --embedded --parent=l2.vmdk --parent-cid=1 --cid=1
"$MKIMAGE" make kdmv l2.vmdk --capacity=1M --embedded --parent=l1.vmdk --parent-cid=1 --cid=1
expect_fail 'own ancestor' "$TOOL" info --chain l1.vmdk
"$TOOL" info l1.vmdk > out

# Messages too.
expect_fail 'vmdkdelta: ' "$TOOL" info "${esc}]0;x"
harmless output
expect_fail 'vmdkdelta: ' "$TOOL" "${esc}]0;x"
harmless output

# Noise is refused, in an orderly way.
for i in $(seq 1 40); do
    head -c $((i * 997)) /dev/urandom > noise.vmdk
    printf 'KDMV\1\0\0\0' | dd of=noise.vmdk conv=notrunc status=none
    expect_fail 'noise.vmdk' "$TOOL" info noise.vmdk
    expect_fail 'noise.vmdk' "$TOOL" map noise.vmdk
done
