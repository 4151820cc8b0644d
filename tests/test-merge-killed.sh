#!/bin/bash
# Killed at random moments: the newest disk, or the base, reads as it should, and the
# same command ends in the same result.  long-merge-kill.sh does this more often.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/merge.sh"
# Leaks cannot be looked for under strace.
export ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0
need tool plugin xz nbdcopy qemu-img strace

# So many merges are really killed: threads may not come to the call that was drawn.
kills=${MERGE_KILLS:-3}
seed=${MERGE_SEED:-$RANDOM}
echo "MERGE_SEED=$seed"
RANDOM=$seed
killed=0 resumed=0

# kill_one NAME SKIP COUNT: one merge, killed at one of the calls that change files.
changes=pwrite64,fsync,fdatasync,fallocate,ftruncate,rename,renameat2,link,linkat,unlink,unlinkat
kill_one () {
    local n=${#chain[@]} call when state=0 k now
    rm -rf "$T/x"; cp -r --sparse=always . "$T/x"
    strace -f -qq -o "$T/calls" -e trace=$changes \
        "$TOOL" merge --quiet --skip=$2 --count=$3 "$T/x/${chain[-1]}"
    rm -rf "$T/x"; cp -r --sparse=always . "$T/x"
    # strace counts the calls of each name in each thread.  Half of those drawn are
    # among the last 40, where files change their names.
    read -r call when < <(awk -v r=$RANDOM -v end=$((RANDOM % 2)) '
        match ($2, /^[a-z0-9_]+\(/) { name = substr ($2, 1, RLENGTH - 1); all[n++] = name " " ++seen[$1, name] }
        END { m = end && n > 40 ? 40 : n; print all[n - 1 - r % m] }' "$T/calls")
    strace -f -qq -o /dev/null -e trace=$changes -e inject=$call:signal=KILL:when=$when \
        "$TOOL" merge --quiet --skip=$2 --count=$3 "$T/x/${chain[-1]}" > /dev/null 2>&1 || state=$?
    [ $state -lt 128 ] || killed=$((killed + 1))
    # Either the old chain is as it was, or a journal completes it.
    if [ -z "$(find "$T/x" -name '.*vmdkdelta-merge')" ] && [ -e "$T/x/${chain[-1]}" ]; then
        [ "$(digest "$T/x/${chain[-1]}")" = "${digests[-1]}" ] || fail "$1: killed at $call $when: the disk reads otherwise"
    fi
    # Older snapshots read as they did, or not at all; the target may be merged already.
    for ((k = 0; k < n - 1 - $2; k++)); do
        [ -e "$T/x/${chain[k]}" ] || continue
        now=$(digest "$T/x/${chain[k]}" 2> /dev/null) || continue
        if [ "$now" = "${digests[k]}" ]; then continue; fi
        if [ $k -eq $((n - 1 - $2 - $3)) ] && [ "$now" = "${digests[n - 1 - $2]}" ]; then continue; fi
        fail "$1: killed at $call $when: ${chain[k]}, an older snapshot, reads wrong"
    done
    [ -z "$(find "$T/x" -name '.*vmdkdelta-merge')" ] || resumed=$((resumed + 1))
    # Once more, unless it was complete: that would merge more.
    if [ -n "$(find "$T/x" -name '.*vmdkdelta-merge')" ] || [ -e "$T/x/${chain[n - 1 - $2]}" ]; then
        "$TOOL" merge --quiet --skip=$2 --count=$3 "$T/x/${chain[-1]}" > "$T/again" 2>&1 ||
            { cat "$T/again"; fail "$1: killed at $call $when"; }
    fi
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
