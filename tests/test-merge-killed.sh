#!/bin/bash
# Killed at random moments: the newest disk, or the base, reads as it should, and the
# same command ends in the same result.  long-merge-kill.sh does this more often.
. "$top_srcdir/tests/lib.sh"
. "$top_srcdir/tests/merge.sh"
need tool plugin xz nbdcopy qemu-img strace

# So many merges are really killed (some end before the call that was drawn,
# and some before they write).
kills=${MERGE_KILLS:-3}
RANDOM=${MERGE_SEED:-$RANDOM}
echo "MERGE_SEED=$RANDOM"
killed=0 resumed=0

# kill_one NAME SKIP COUNT: one merge, killed at one of its system calls.
kill_one () {
    local n=${#chain[@]} calls when state
    rm -rf "$T/x"; cp -r --sparse=always . "$T/x"
    strace -f -qq -o "$T/calls" -e trace=pwrite64,fsync,fallocate,ftruncate,rename,renameat2,link,unlink,openat \
        "$TOOL" merge --quiet --skip=$2 --count=$3 "$T/x/${chain[-1]}"
    calls=$(grep -c . "$T/calls")
    rm -rf "$T/x"; cp -r --sparse=always . "$T/x"
    when=$((RANDOM % calls + 1))
    # More of them at the end, where files change their names.
    [ $((RANDOM % 2)) -eq 0 ] || when=$((calls - RANDOM % 40))
    [ $when -gt 0 ] || when=1
    state=0
    strace -f -qq -o "$T/log" -e trace=pwrite64,fsync,fallocate,ftruncate,rename,renameat2,link,unlink,openat \
        -e inject=pwrite64,fsync,fallocate,ftruncate,rename,renameat2,link,unlink,openat:signal=KILL:when=$when \
        "$TOOL" merge --quiet --skip=$2 --count=$3 "$T/x/${chain[-1]}" > /dev/null 2>&1 || state=$?
    # Before its first write it had only looked.
    if [ $state -ge 128 ] && grep -q pwrite64 "$T/log"; then killed=$((killed + 1)); fi
    # Either the old chain is as it was, or a journal completes it.
    if [ -z "$(find "$T/x" -name '.*vmdkdelta-merge')" ] && [ -e "$T/x/${chain[-1]}" ]; then
        [ "$(digest "$T/x/${chain[-1]}")" = "${digests[-1]}" ] || fail "$1: killed at $when of $calls: the disk reads otherwise"
    fi
    [ -z "$(find "$T/x" -name '.*vmdkdelta-merge')" ] || resumed=$((resumed + 1))
    # Once more, unless it was complete: that would merge more.
    if [ -n "$(find "$T/x" -name '.*vmdkdelta-merge')" ] || [ -e "$T/x/${chain[n - 1 - $2]}" ]; then
        "$TOOL" merge --quiet --skip=$2 --count=$3 "$T/x/${chain[-1]}" > "$T/again" 2>&1 ||
            { cat "$T/again"; fail "$1: killed at $when of $calls"; }
    fi
    find "$T/x" -name '*.part' -delete
    check_result "$T/x" $2 $3
}

names=${MERGE_NAMES:-vb-vdi-tiny-2 fc-esxi-flat-cowd-3 q72-zeroed-4}
set -- $names
each=$(((kills + $# - 1) / $#))
for name; do
    unpack "$name"
    before=$killed
    for ((i = 0; killed - before < each; i++)); do
        [ $i -lt $((10 + 5 * each)) ] || fail "$name: only $((killed - before)) of $i were killed"
        kill_one "$name" $((i % 2)) 1
    done
done
echo "$killed killed, $resumed of them with a journal"
[ $killed -ge "$kills" ] || fail "fewer than $kills were killed"
