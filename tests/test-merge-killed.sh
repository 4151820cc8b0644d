#!/bin/bash
# Killed at random moments: the newest disk, or the base, reads as it should, and the
# same command ends in the same result.  long-merge-kill.sh does this more often.
. "$top_srcdir/tests/lib.sh"
. "$top_srcdir/tests/merge.sh"
need tool plugin xz nbdcopy qemu-img strace

times=${MERGE_KILLS:-6}
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
    strace -f -qq -o /dev/null -e trace=pwrite64,fsync,fallocate,ftruncate,rename,renameat2,link,unlink,openat \
        -e inject=pwrite64,fsync,fallocate,ftruncate,rename,renameat2,link,unlink,openat:signal=KILL:when=$when \
        "$TOOL" merge --quiet --skip=$2 --count=$3 "$T/x/${chain[-1]}" > /dev/null 2>&1 || state=$?
    [ $state -ge 128 ] && killed=$((killed + 1))
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

for name in ${MERGE_NAMES:-vb-vdi-tiny-2 fc-esxi-flat-cowd-3 q72-zeroed-4}; do
    unpack "$name"
    for ((i = 0; i < times; i += 3)); do kill_one "$name" $((i % 2)) 1; done
done
echo "$killed killed, $resumed of them with a journal"
[ $killed -gt 0 ] || fail 'none was killed'
