#!/bin/bash
# SIGINT and SIGTERM while the target is written: apply stops in an orderly way,
# says what state the target is in, and ends with status 1; run again, it
# completes the disk.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need tool mkimage nbdkit:filter:delay

"$MKIMAGE" make cowd d.vmdk --capacity=48M --fill=50 --runs=64 --descriptor=delta.vmdk \
    --parent=base.vmdk --parent-cid=12345678 --cid=9abcdef0
head -c 48M /dev/urandom > original
fresh original target
"$TOOL" apply --quiet delta.vmdk target 2> err || { cat err; fail "apply"; }
mv target expected

# Each signal with every kind of work and output, each of these with one signal.
for way in 'INT --threads=1' 'TERM --threads=4 --quiet' 'INT --threads=4 --undo=undo.vmdk' 'TERM --json'; do
    signal=${way%% *} options=${way#* }
    fresh original target
    rm -f undo.vmdk
    # So slow that it is not done before it is stopped, on however busy a machine.
    start --filter=delay file target delay-write=100ms
    # A program in the background ignores SIGINT; this one shall not.
    # shellcheck disable=SC2086
    env --default-signal=INT "$TOOL" apply $options delta.vmdk "$uri" > out 2> err &
    pid=$!
    await differ original target
    kill -$signal $pid
    status=0
    wait $pid || status=$?
    what="SIG$signal, $options"
    [ $status = 1 ] || { cat out err; fail "$what: status $status"; }
    grep -q "stopped as asked" err || { cat err; fail "$what: not said that it stopped"; }
    grep -q "partly old and partly new.*run the same command again" err ||
        { cat err; fail "$what: no state"; }
    if [[ $options = *undo* ]]; then
        grep -q "undo it with: vmdkdelta apply undo.vmdk" err || { cat err; fail "$what: undo is not named"; }
    fi
    if [ "$options" = --json ] && [ -s out ]; then fail "$what: a result was printed"; fi
    ! cmp -s target expected || fail "$what: it was not stopped in the middle"
    ! cmp -s target original || fail "$what: it was not stopped in the middle"
    stop
    start file target
    "$TOOL" apply --quiet --verify delta.vmdk "$uri" 2> err || { cat err; fail "$what: again"; }
    stop
    cmp target expected || fail "$what: run again, it does not end in the same bytes"
    if [[ $options = *undo* ]]; then
        "$TOOL" apply --quiet undo.vmdk target
        cmp target original || fail "$what: not brought back"
    fi
done

# While the undo file is made nothing is written yet: the signal ends it, and no
# half of an undo file has its name.
fresh original target
rm -f undo.vmdk
start --filter=delay file target delay-read=500ms
env --default-signal=TERM "$TOOL" apply --undo=undo.vmdk delta.vmdk "$uri" > out 2>&1 &
pid=$!
sleep 0.1
kill -TERM $pid
status=0
wait $pid || status=$?
stop
[ $status -ne 0 ] || fail "the signal had no effect"
[ ! -e undo.vmdk ] || fail "half an undo file"
same original target

# A second signal ends it at once, though a write takes minutes.
fresh original target
rm -f undo.vmdk
start --filter=delay file target delay-write=600
env --default-signal=TERM "$TOOL" apply --quiet --undo=undo.vmdk delta.vmdk "$uri" > out 2>&1 &
pid=$!
await test -e undo.vmdk     # from here on it writes
kill -TERM $pid
# The first one has arrived when there is no handler any more.
caught () { [ $((0x$(sed -n 's/^SigCgt:\t//p' /proc/$pid/status) & 0x4000)) -ne 0 ]; }
for ((i = 0; i < 500; i++)); do
    caught || break
    sleep 0.02
done
kill -0 $pid || fail 'the first signal ended it while a write was on its way'
kill -TERM $pid
status=0
wait $pid || status=$?
[ $status = 143 ] || { cat out; fail "a second signal: status $status"; }
kill -KILL "$server_pid"
wait "$server_pid" 2> /dev/null || :
servers=()
same original target
