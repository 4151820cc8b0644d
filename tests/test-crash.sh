#!/bin/bash
# The power fails while files are made, applied, noted, synced, compacted, merged, and written by a
# client: a few of the states that it can leave, the rest with "make crash" (tests/crash/crash.h).
. "${top_srcdir:?run it with make check}/tests/lib.sh"

crash=$builddir/tests/crash/crash
dir=$T
[ ! -w /dev/shm ] || { dir=$(mktemp -d /dev/shm/t.XXXXXX); on_exit "rm -rf '$dir'"; }

# run NAME STATES PER-IMAGE SEED
run () {
    "$crash" -d "$dir" -o "$1" -n "$2" -i "$3" -s "$4" > out || fail "$1, seed $4: $(cat out)"
    grep -Eq '^[0-9]+ crash states, 0 wrong$' out || fail "$1: $(cat out)"
    head -n 1 out
}
for what in create apply noted sync compact merge machine write; do
    run "$what" 100 10 $((RANDOM % 5000))
done

# Found by this:
# the directory of a new child was not there, but the journal that names it
run merge 110 110 9
# nor the child itself, a VDI
run merge 60 60 278
# a COWD extent that has its name, but no descriptor, and no word on what to do
run create 60 60 6

[ -z "$(ls -A "$dir" | grep -v '^out$' || :)" ] || fail "left behind: $(ls -A "$dir")"
