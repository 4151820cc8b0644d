#!/bin/bash
# vmdkdelta check: statuses, what it says for people and for programs.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need tool mkimage

# expect STATUS REGEX COMMAND...: the output must match.
expect () {
    local want=$1 regex=$2 status=0
    shift 2
    "$@" > out 2>&1 || status=$?
    [ $status -eq "$want" ] || { cat out; fail "status $status, expected $want: $*"; }
    grep -Eq -e "$regex" out || { cat out; fail "no line matches: $regex"; }
}

# poke FILE OFFSET BYTES (as \xNN)
poke () { printf "$3" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none; }

"$MKIMAGE" make cowd d.vmdk --capacity=64K --fill=100
expect 0 '^d\.vmdk: clean \(COWD; 128 grains, 1 table\)$' "$TOOL" check d.vmdk

# The directory is at sector 4, the only table at sector 5.
cp d.vmdk bad.vmdk
poke bad.vmdk $((5 * 512 + 4 * 7)) '\xff\xff\xff\x00'
poke bad.vmdk $((5 * 512 + 4 * 9)) '\x02\x00\x00\x00'
expect 3 '^bad\.vmdk: damaged: 2 errors' "$TOOL" check bad.vmdk
grep -q '^  error: grain-outside-file (1)$' out
grep -q 'grain 7 .*sector 16777215.*\[file byte 2588; disk bytes 3584 to 4095\]$' out
grep -q '^  error: grain-in-metadata (1)$' out
grep -q '^    offset 4608, length 512$' out

# For programs.
expect 3 '"result": "damaged"' "$TOOL" check --json bad.vmdk d.vmdk
grep -q '"grain-outside-file": 1' out
grep -q '"lost-bytes": 1024' out
if command -v jq > /dev/null; then
    [ "$(jq -r '.[].result' out | tr '\n' ' ')" = 'damaged clean ' ] || fail 'results in JSON'
    [ "$(jq -c '.[0].links[0].lost' out)" = \
        '[{"offset":3584,"length":512},{"offset":4608,"length":512}]' ] || fail 'lost in JSON'
    [ "$(jq '.[0].links[0].findings[0].place' out)" = 2588 ] || fail 'place in JSON'
fi

# Several files: damage counts more than what could not be checked.
expect 1 'No such file' "$TOOL" check missing.vmdk d.vmdk
expect 3 'No such file' "$TOOL" check missing.vmdk bad.vmdk
expect 2 'which FILE' "$TOOL" check

# Too damaged to be opened.
head -c 1000 d.vmdk > cut.vmdk
expect 3 '^cut\.vmdk: damaged: ' "$TOOL" check cut.vmdk
head -c 1000 /dev/urandom > noise.vmdk
expect 1 '^noise\.vmdk: not checked: ' "$TOOL" check noise.vmdk

# Warnings do not make it damaged.
cp d.vmdk unclean.vmdk
poke unclean.vmdk 1648 '\x01'
expect 0 '^  warning: unclean \(1\)$' "$TOOL" check unclean.vmdk

# Many findings: the first ones, and --verbose for more.
cp d.vmdk many.vmdk
for ((i = 0; i < 60; i += 2)); do poke many.vmdk $((5 * 512 + 4 * i)) '\xff\xff\xff\x7f'; done
expect 3 '^    \.\.\. and 20 more$' "$TOOL" check many.vmdk
grep -q 'and 20 more (--verbose lists them)$' out
[ "$("$TOOL" check --verbose many.vmdk | grep -c 'offset')" = 30 ] || fail 'all of 30 ranges'

# Infos only when asked for.
"$MKIMAGE" make kdmv u.vmdk --capacity=1M --grain=4K --unaligned --scatter --fill=60
"$TOOL" check u.vmdk > out
if grep -q info out; then fail 'infos without --verbose'; fi

# Compressed grains are inflated, unless that is not wanted.
"$MKIMAGE" make stream s.vmdk --capacity=1M --fill=100 --content=noise
expect 0 '16 compressed grains' "$TOOL" check s.vmdk
size=$(stat -c %s s.vmdk)
poke s.vmdk $((size - 20000)) '\x00\x01\x02\x03'
expect 3 'grain-does-not-inflate' "$TOOL" check s.vmdk
expect 0 clean "$TOOL" check --no-inflate s.vmdk

# A journal to be replayed: found, or allowed.
"$MKIMAGE" make sesparse se.vmdk --capacity=1M
poke se.vmdk 536 '\x01'
expect 3 'error: journal-pending' "$TOOL" check se.vmdk
expect 0 'warning: journal-pending' "$TOOL" check --allow-dirty se.vmdk
