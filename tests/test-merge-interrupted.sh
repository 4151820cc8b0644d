#!/bin/bash
# A merge that was interrupted has written to its target: until it is completed, older
# snapshots are refused everywhere, and so is every other way to go on.  The newest
# state stays as it is, and the command that the messages name ends right.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need tool plugin filter qemu-img qemu-io nbdcopy strace
# Leaks cannot be looked for under strace.
export ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0

# A directory whose name has to be quoted.
D="$T/it's a disk"

make_chain () {
    local i
    rm -rf "$D"; mkdir "$D"; cd "$D"
    qemu-img create -q -f vmdk ${1:+-o subformat=$1} base.vmdk 4M
    qemu-io -f vmdk -c 'write -q -P 65 0 4M' base.vmdk > /dev/null
    for i in 1 2 3; do
        qemu-img create -q -f vmdk -b "$([ $i -eq 1 ] && echo base || echo s$((i - 1))).vmdk" -F vmdk s$i.vmdk
        qemu-io -f vmdk -c "write -q -P $((65 + i)) ${i}M 64k" s$i.vmdk > /dev/null
    done
}

# letters FILE: the first byte of each MiB of the disk, nothing if it is not served.
letters () {
    local i
    rm -f "$T/out.raw"
    if nbdkit "$PLUGIN" "file=$1" --run 'nbdcopy "$uri" "'"$T/out.raw"'"' 2> "$T/err"; then
        for i in 0 1 2 3; do dd if="$T/out.raw" bs=1 skip=$((i << 20)) count=1 status=none; done
    fi
}

# interrupt OPTION...: killed after the first data was written, before the Nth write.
at=8
interrupt () {
    local state=0
    strace -f -qq -o "$T/trace" -e trace=pwrite64 -e inject=pwrite64:signal=KILL:when=$at+ \
        "$TOOL" merge --threads=1 "$@" s3.vmdk > "$T/log" 2>&1 || state=$?
    [ $state -ge 128 ] || { cat "$T/log"; fail "it was not killed ($state)"; }
    [ -e .base.vmdk.vmdkdelta-merging ] || [ -e .s1.vmdk.vmdkdelta-merging ] || fail 'there is no mark'
}

# refused COMMAND...: with the command that completes the merge.
refused () {
    local state=0
    "$@" > "$T/out" 2>&1 || state=$?
    [ $state -eq 1 ] || { cat "$T/out"; fail "$*: $state"; }
    grep -qF "$complete" "$T/out" || { cat "$T/out"; fail "$*: it does not say $complete"; }
}

check_interrupted () {
    local f
    [ "$(letters s3.vmdk)" = ABCD ] || { cat "$T/err"; fail 'the newest state reads otherwise'; }
    for f in base s1 s2; do
        [ -z "$(letters $f.vmdk)" ] || fail "$f.vmdk is served"
        grep -qF "$complete" "$T/err" || { cat "$T/err"; fail "$f.vmdk: it does not say how to go on"; }
    done
    # through the filter: over the base that was written to
    if nbdkit -U - --filter="$FILTER" "$PLUGIN" file=base.vmdk delta=s1.vmdk --run true 2> /dev/null; then
        fail 'the filter serves s1.vmdk'
    fi
    truncate -s 4M raw.img
    if nbdkit -U - --filter="$FILTER" file raw.img delta=s2.vmdk --run true 2> "$T/err"; then
        fail 'the filter serves s2.vmdk'
    fi
    grep -qF "$complete" "$T/err" || { cat "$T/err"; fail 'the filter does not say how to go on'; }
    for f in base s1; do
        run_status 3 "$TOOL" check $f.vmdk
        grep -q merge-unfinished "$T/run" || fail "check $f.vmdk says nothing"
    done
    run_status 3 "$TOOL" check --chain s3.vmdk
    run_status 0 "$TOOL" info s3.vmdk
    grep -qF "$complete" "$T/run" || fail 'info does not say how to go on'
    run_status 0 "$TOOL" info --json s3.vmdk
    python3 -c 'import json, sys; assert json.load(open(sys.argv[1]))[0]["merging"] == sys.argv[2]' "$T/run" "$complete" ||
        { cat "$T/run"; fail 'JSON'; }
    refused "$TOOL" compact base.vmdk
    refused "$TOOL" compact s1.vmdk
    refused "$TOOL" map s2.vmdk
    refused "$TOOL" create --from base.vmdk --to s3.vmdk new.vmdk
    refused "$TOOL" apply s1.vmdk raw.img
    refused "$TOOL" merge s2.vmdk
    rm raw.img
}

# run_status STATUS COMMAND...: its output is in $T/run.
run_status () {
    local want=$1 state=0
    shift
    "$@" > "$T/run" 2>&1 || state=$?
    [ $state -eq $want ] || { cat "$T/run"; fail "$*: $state, not $want"; }
}

# All other plans are refused, and the same is completed.
for how in '' --count=2 --skip=1 --keep --compact --discard-current; do
    make_chain
    interrupt $how --yes
    complete="vmdkdelta merge${how:+ $how} '$T/it'\\''s a disk/s3.vmdk'"
    [ "$how" ] || check_interrupted
    for other in '' --count=2 --count=1 --skip=1 --keep --compact --discard-current --snapshot; do
        [ "$other" != "$how" ] || continue
        refused "$TOOL" merge --yes $other s3.vmdk
        refused "$TOOL" merge --yes --dry-run $other s3.vmdk
    done
    # elsewhere, moved; with the very words of the message
    mv "$D" "$T/moved"; mkdir "$D"; cp -r --sparse=always "$T/moved/." "$D/"; rm -rf "$T/moved"
    cd "$T"
    printf 'vmdkdelta () { "$TOOL" "$@" --yes; }\n%s\n' "$complete" > "$T/again.sh"
    TOOL=$TOOL bash -e "$T/again.sh" > "$T/out" 2>&1 || { cat "$T/out"; fail "$complete"; }
    cd "$D"
    grep -q 'completes a merge that was interrupted' "$T/out" || fail 'it does not say that it completes one'
    case $how in
        --count=2) [ "$(letters s1.vmdk)$(letters base.vmdk)" = ABCDAAAA ] ;;
        --skip=1)  [ "$(letters base.vmdk)$(letters s3.vmdk)" = ABCAABCD ] ;;
        --discard-current) [ "$(letters base.vmdk)" = ABCA ] ;;
        *)         [ "$(letters base.vmdk)" = ABCD ] ;;
    esac || { cat "$T/err"; fail "$how: the result is wrong"; }
    [ -z "$(find . -name '.*')" ] || [ "$(find . -name '.*')" = . ] || { ls -A; fail 'something was left'; }
done

# A flat base: its data can be taken as a raw disk.
make_chain monolithicFlat
at=5                            # behind three marks and one piece of data
interrupt
[ ! -e .s3.vmdk.vmdkdelta-merge ] || fail 'it was killed too late'
complete="vmdkdelta merge '$T/it'\\''s a disk/s3.vmdk'"
truncate -s 4M x.raw
"$TOOL" create --quiet --from x.raw --to s3.vmdk x.vmdk
refused "$TOOL" apply x.vmdk base-flat.vmdk
refused "$TOOL" compact base-flat.vmdk
refused "$TOOL" create --from base-flat.vmdk --to x.raw y.vmdk
# A mark that cannot be understood is not passed over.
echo 'vmdkdelta-merging 2' > .base.vmdk.vmdkdelta-merging
[ -z "$(letters base.vmdk)" ] || fail 'a mark of another version is passed over'
grep -q 'another version' "$T/err" || { cat "$T/err"; fail 'another version is not named'; }
refused_by=0
"$TOOL" merge s3.vmdk > "$T/out" 2>&1 || refused_by=$?
[ $refused_by -eq 1 ] || fail 'merged over a mark that cannot be understood'

# Nor at the end, when a journal is there: it removes the marks of its own merge only.
# The marks are like the disks, and the journal is ours alone, whatever the umask is.
make_chain monolithicFlat
chmod 640 *.vmdk
if [ "$(id -u)" -eq 0 ]; then chown 4711:4712 *.vmdk; fi
at=8                            # all data, the journal, and its first step
umask 0
interrupt
umask 022
[ "$(stat -c %a .s3.vmdk.vmdkdelta-merge)" = 600 ] || fail "the journal: $(stat -c %a .s3.vmdk.vmdkdelta-merge)"
[ "$(stat -c %a base.vmdk.*.part)" = 600 ] || fail "the new descriptor: $(stat -c %a base.vmdk.*.part)"
for f in base s1 s3; do
    [ "$(stat -c '%a %u:%g' .$f.vmdk.vmdkdelta-merging)" = "$(stat -c '%a %u:%g' $f.vmdk)" ] ||
        fail "the mark of $f.vmdk: $(stat -c '%a %u:%g' .$f.vmdk.vmdkdelta-merging)"
done
[ -e .s3.vmdk.vmdkdelta-merge ] || fail 'it was killed too early'
echo 'vmdkdelta-merging 2' > .base.vmdk.vmdkdelta-merging
find . -type f -exec sha256sum {} + > "$T/sums"
run_status 1 "$TOOL" merge s3.vmdk
grep -q '.base.vmdk.vmdkdelta-merging was changed by another program' "$T/run" || { cat "$T/run"; fail 'a changed mark'; }
sha256sum --quiet -c "$T/sums" || fail 'something was done beside a changed mark'
run_status 1 "$TOOL" merge --dry-run s3.vmdk
# Without it the journal has nothing to remove there, and ends right.
rm .base.vmdk.vmdkdelta-merging
run_status 0 "$TOOL" merge --dry-run --json s3.vmdk
python3 -c 'import json, sys; j = json.load(open(sys.argv[1])); assert j["would-resume"] is True; assert [s for s in j["steps"] if "s1.vmdk" in s]' "$T/run" ||
    { cat "$T/run"; fail 'JSON of what would be completed'; }
sha256sum --quiet -c <(grep -v base.vmdk.vmdkdelta "$T/sums") || fail 'the dry run did something'
run_status 0 "$TOOL" merge s3.vmdk
[ "$(letters base.vmdk)" = ABCD ] || { cat "$T/err"; fail 'completed by its journal'; }

# Before the first byte: no room for the mark, and nothing was written.
make_chain
find . -type f -exec sha256sum {} + > "$T/sums"
mkdir .base.vmdk.vmdkdelta-merging
run_status 1 "$TOOL" merge s3.vmdk
rmdir .base.vmdk.vmdkdelta-merging
sha256sum --quiet -c "$T/sums" || fail 'something was written'
state=0
strace -f -qq -o "$T/trace" -e trace=renameat2 -e inject=renameat2:error=ENOSPC:when=2 \
    "$TOOL" merge s3.vmdk > "$T/out" 2>&1 || state=$?
[ $state -eq 1 ] || { cat "$T/out"; fail "without room: $state"; }
grep -q 'nothing was written' "$T/out" || { cat "$T/out"; fail 'without room'; }
sha256sum --quiet -c "$T/sums" || fail 'something was written without room'
[ "$(find . -name '.*')" = . ] || { ls -A; fail 'something was left without room'; }
[ "$(letters s1.vmdk)" = ABAA ] || fail 's1.vmdk'

# Ctrl-C says what it means.
state=0
strace -f -qq -o "$T/trace" -e trace=pwrite64 -e inject=pwrite64:signal=INT:when=6 \
    "$TOOL" merge s3.vmdk > "$T/out" 2>&1 || state=$?
if [ $state -ne 0 ]; then
    grep -qF "Complete it: vmdkdelta merge '$T/it'\\''s a disk/s3.vmdk'" "$T/out" ||
        { cat "$T/out"; fail 'Ctrl-C does not say how to go on'; }
fi

# Down to a branch: completed alike, also after the other branch has gone.
for gone in '' yes; do
    make_chain
    qemu-img create -q -f vmdk -b base.vmdk -F vmdk other.vmdk
    at=8
    strace -f -qq -o "$T/trace" -e trace=pwrite64 -e inject=pwrite64:signal=KILL:when=$at+ \
        "$TOOL" merge --threads=1 s3.vmdk > "$T/log" 2>&1 || :
    [ -e .s1.vmdk.vmdkdelta-merging ] || fail 'there is no mark'
    [ "$(letters s3.vmdk)" = ABCD ] || { cat "$T/err"; fail 'the newest state reads otherwise'; }
    [ "$(letters other.vmdk)" = AAAA ] || { cat "$T/err"; fail 'the other branch is not served'; }
    [ -z "$(letters s2.vmdk)" ] || fail 's2.vmdk is served'
    grep -qF "merge --count=2 '" "$T/err" || { cat "$T/err"; fail 'it does not say how far'; }
    [ -z "$gone" ] || rm other.vmdk
    "$TOOL" merge --quiet --count=2 s3.vmdk
    [ "$(letters s1.vmdk)" = ABCD ] || { cat "$T/err"; fail 'completed'; }
    for f in s2 s3; do [ ! -e $f.vmdk ] || fail 'not removed'; done
    [ "$(letters base.vmdk)" = AAAA ] || { cat "$T/err"; fail 'the base'; }
done
