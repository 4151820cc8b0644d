#!/bin/bash
# Somebody who can write to the directory puts other things in the place of its names,
# right before any of merge's system calls: symbolic and hard links to files outside,
# other files, directories.  Nothing outside is touched, nor read into it.  (That is a
# danger when root merges in a directory of another user.)
# RACE_RUNS=N tries so many of the moments, RACE_RUNS=all all (long-merge-race.sh), from
# call RACE_FROM on; RACE_ONLY=files or RACE_ONLY=machine does one of the two scenarios.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/merge.sh"
need tool plugin xz nbdcopy qemu-img qemu-io
SWAP=$builddir/tests/swap
# Leaks cannot be looked for under ptrace.
export ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0
"$SWAP" 1 count x y true > "$T/log" 2>&1 || skip 'no ptrace here'

runs=${RACE_RUNS:-40}
RANDOM=${RACE_SEED:-$RANDOM}
echo "RACE_SEED=$RANDOM"
mkdir "$T/r"

# A chain of VMDKs, and a machine of VirtualBox, whose journals have all kinds of steps.
make_files () {
    mkdir "$T/files"; cd "$T/files"
    qemu-img create -q -f vmdk base.vmdk 4M
    qemu-img create -q -f vmdk -b base.vmdk -F vmdk s1.vmdk
    qemu-io -f vmdk -c 'write -q -P 66 1M 64k' s1.vmdk > /dev/null
    qemu-img create -q -f vmdk -b s1.vmdk -F vmdk s2.vmdk
    qemu-io -f vmdk -c 'write -q -P 67 2M 64k' s2.vmdk > /dev/null
    unpack vb-vdi-tiny-2
    mkdir "$T/machine"
    cp "${chain[@]}" "$T/machine"
    make_machine "$T/machine/m.vbox" ${#chain[@]} "${chain[@]}"
    cd "$T"
}

# outside TEMPLATE: a directory with a twin of each file: the same bytes, so that only who
# looks at more than bytes can tell them apart.  What is compared by content all the same
# has a word in it there.
outside () {
    rm -rf "$T/r"; mkdir "$T/r"
    cp -r "$1" "$T/r/outside"
    echo OUTSIDE > "$T/r/outside/text"
    [ ! -e "$T/r/outside/m.vbox" ] || sed -i 's/m &amp; n/OUTSIDE/' "$T/r/outside/m.vbox"
    cd "$T/r/outside"
    chmod 600 ./*
    state > "$T/before"
    sha256sum ./* > "$T/sums"
    cd "$T"
}

# All of a directory but the numbers of links, which a hard link changes.
state () { find . -printf '%P %y %s %T@ %m %U\n' | sort; }

# fresh TEMPLATE: a directory of somebody else, if we can make such.
fresh () {
    rm -rf "$T/r/home" "$T/r/home.was"
    cp -r "$1" "$T/r/home"
    if [ "$(id -u)" -eq 0 ]; then chown -R 4711:4712 "$T/r/home"; fi
}

outcomes=
# try TEMPLATE NAME KIND N COMMAND...: swapped before the Nth call.
try () {
    local template=$1 name=$2 kind=$3 n=$4 twin=$T/r/outside/$2 status=0 path
    shift 4
    fresh "$template"
    [ -e "$twin" ] || twin=$T/r/outside/text
    if [ "$kind" = symlink ] && [[ $name = *-new || $name = . ]]; then twin=$T/r/outside; fi
    path=$T/r/home/$name
    if [ "$name" = . ]; then path=$T/r/home; fi
    "$SWAP" $n $kind "$path" "$twin" "$@" > "$T/out" 2>&1 || status=$?
    [ $status -ne 98 ] || return 0
    [ $status -lt 98 ] || { cat "$T/out"; fail "$name became a $kind before call $n: status $status"; }
    tried=$((tried + 1))
    outcomes+=" $status"
    cd "$T/r/outside"; state > "$T/after"; cd "$T"
    cmp -s "$T/before" "$T/after" ||
        { cat "$T/out"; diff "$T/before" "$T/after" || :; fail "$name became a $kind before call $n: something outside was touched"; }
    # Not through the link, if that is still there.
    find "$T/r"/home* -type f -links 1 ! -name "$name" -exec grep -l OUTSIDE {} + > "$T/read" || :
    [ "$kind" = copy ] || [ ! -s "$T/read" ] ||
        { cat "$T/read" "$T/out"; fail "$name became a $kind before call $n: what is outside was read"; }
}

# scenario TEMPLATE NAMES NEWEST OPERAND...: at random moments, or all, from the moment
# when there is a mark beside the newest file.  NAMES has those of the files and patterns of
# temporary ones; "." is the directory itself.
scenario () {
    local template=$1 names total name kind n part
    read -ra names <<< "$2"     # (no pathname expansion)
    outside "$template"
    fresh "$template"
    # What is there before that is what the user named.
    export SWAP_AFTER=$T/r/home/.$3.vmdkdelta-merging
    shift 3
    total=$("$SWAP" 1000000 count x y "$TOOL" merge --quiet --threads=1 "$@" | tail -1)
    echo "$* has $total calls"
    if [ "$runs" = all ]; then
        for ((n = ${RACE_FROM:-1}; n <= total; n++)); do
            [ $((n % 20)) -ne 0 ] || echo "call $n: $tried swaps"
            for name in "${names[@]}"; do
                for kind in symlink link copy dir; do
                    # swap leaves it alone
                    case $name-$kind in .-link|.-copy) continue ;; esac
                    try "$template" "$name" $kind $n "$TOOL" merge --quiet --threads=1 "$@"
                done
            done
        done
        same_outside
        return
    fi
    part=$((tried + runs / 2))
    while [ $tried -lt $part ]; do
        name=${names[RANDOM % ${#names[@]}]}
        kind=$(shuf -n 1 -e symlink link copy dir --random-source=<(while :; do echo $RANDOM; done))
        n=$((1 + RANDOM % total))
        try "$template" "$name" $kind $n "$TOOL" merge --quiet --threads=1 "$@"
    done
    same_outside
}

# Also if somebody set the times back.
same_outside () { (cd "$T/r/outside"; sha256sum --quiet -c "$T/sums") || fail 'something outside was written to'; }

make_files
tried=0
[ "${RACE_ONLY:-files}" != files ] ||
    scenario "$T/files" '. *.part base.vmdk s1.vmdk s2.vmdk .s2.vmdk.vmdkdelta-merge .base.vmdk.vmdkdelta-merging' s2.vmdk "$T/r/home/s2.vmdk"
[ "${RACE_ONLY:-machine}" != machine ] ||
    scenario "$T/machine" ". *.part ${chain[*]} m.vbox m.vbox-prev .m.vbox.vmdkdelta-merge .m.vbox.vmdkdelta-merge-new" \
        "${chain[-1]}" --snapshot=x --compact "$T/r/home/m.vbox"
echo "$tried swaps; status $(tr ' ' '\n' <<< "$outcomes" | sort | uniq -c | tr -s ' \n' ' ')"
[ $tried -ge 20 ] || fail 'too few swaps'
