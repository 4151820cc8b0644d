#!/bin/bash
# Reads, writes, flushes and allocations fail, some of them here, more in long-faults.sh,
# all with "make faults" (tests/faults/faults.h): each time there is a clean error and
# nothing is lost.  In the library, and in the command.
#
# STRIDE (default 12): the fewer, the more of them fail.
. "${top_srcdir:?run it with make check}/tests/lib.sh"

faults=$builddir/tests/faults/faults
dir=$T
[ ! -w /dev/shm ] || { dir=$(mktemp -d /dev/shm/t.XXXXXX); on_exit "rm -rf '$dir'"; }

# A sanitizer makes each of them ten times as slow.
slower=${STRIDE:-$([ "${SANITIZE:-}" ] && echo 30 || echo 12)}

# run NAME IMAGES STRIDE
run () {
    local seed=$((RANDOM % 5000))
    "$faults" -d "$dir" -o "$1" -i "$2" -k $(($3 * slower)) -s $seed > out ||
        fail "$1, seed $seed: $(cat out)"
    echo "$1: $(tail -n 1 out)"
    grep -Eq '^[0-9]+ faults: [0-9]+ clean errors, [0-9]+ without effect, 0 wrong$' out || fail "$1"
}
run read 12 5
run create 3 1
run apply 6 5
run undo 2 7
run compact 6 5
run copy 3 5
run merge 3 11
run machine 3 11
run write 4 11
run tool 7 11
[ -z "$(ls -A "$dir" | grep -v '^out$' || :)" ] || fail "left behind: $(ls -A "$dir")"
