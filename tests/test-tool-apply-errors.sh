#!/bin/bash
# Errors of the target while it is written, and a target that lies: status 1,
# the state is told, and the same command completes it later.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need tool mkimage nbdkit:filter:error nbdkit:plugin:eval

make () {
    "$MKIMAGE" make sesparse "$1-x.vmdk" --capacity=32M --fill=40 --runs=16 --zero=20 --descriptor="$1.vmdk" \
        --parent=base.vmdk --parent-cid=12345678 --cid=9abcdef0 --seed="$2"
}
make a 1
head -c 32M /dev/urandom > original
fresh original target
"$TOOL" apply --quiet a.vmdk target 2> err
mv target expected

# ---- Writes, zeros, flushes fail -----------------------------------------------

for what in 'error-pwrite=ENOSPC error-pwrite-rate=50%' 'error-pwrite=EIO error-pwrite-rate=100%' \
    'error-zero=EIO error-zero-rate=70%' 'error-pread=EIO error-pread-rate=100%'; do
    fresh original target
    # shellcheck disable=SC2086
    start --filter=error file target $what
    options=--undo=undo.vmdk
    rm -f undo.vmdk
    status=0
    "$TOOL" apply $options a.vmdk "$uri" > out 2> err || status=$?
    [ $status = 1 ] || { cat out err; fail "$what: status $status"; }
    ! grep -q '^done' out || fail "$what: done, it says"
    case $what in
        *ENOSPC*) grep -q 'No space left' err ;;
        *) grep -q 'Input/output error' err ;;
    esac || { cat err; fail "$what: the error is not told"; }
    case $what in
        *pread*) ! grep -q 'partly' err || fail "$what: nothing was written, but a state is told"
                 same target original ;;
        *) grep -q 'partly old and partly new.*run the same command again.*undo.vmdk' err ||
               { cat err; fail "$what: no state"; } ;;
    esac
    stop
    "$TOOL" apply --quiet --verify a.vmdk target 2> err || { cat err; fail "$what: again"; }
    cmp target expected || fail "$what: run again, it does not end in the same bytes"
    # Nothing can be saved when nothing can be read.
    case $what in
        *pread*) [ ! -e undo.vmdk ] || fail "$what: an undo file" ;;
        *) "$TOOL" apply --quiet undo.vmdk target
           cmp target original || fail "$what: not brought back" ;;
    esac
done

# Written, but it cannot be read back (only what is looked at before anything is
# written, the first and the last 4096 bytes, can).
NBDKIT_PRELOAD="" start eval 'get_size=echo 32M' \
    'pread=[ $3 -le 4096 ] && { [ $4 -eq 0 ] || [ $4 -ge 33550336 ]; } || { echo EIO >&2; exit 1; }; head -c $3 /dev/zero' \
    'pwrite=cat >/dev/null' 'zero=exit 0' 'can_zero=exit 0' 'can_write=exit 0' 'flush=exit 0' 'can_flush=exit 0' \
    'thread_model=echo serialize_all_requests'
expect_fail "written, but verifying failed: .*Input/output error" "$TOOL" apply --quiet --verify a.vmdk "$uri"
stop

# ---- Targets that lie ------------------------------------------------------------

# Writes are taken, and forgotten.
lie=(eval 'get_size=echo 32M' 'pread=head -c $3 /dev/zero | tr "\\0" o' 'pwrite=cat >/dev/null' 'zero=exit 0' 'can_zero=exit 0'
     'can_write=exit 0' 'flush=exit 0' 'can_flush=exit 0' 'thread_model=echo serialize_all_requests')
"$MKIMAGE" make cowd b-x.vmdk --capacity=1M --grain=64K --fill=50 --descriptor=b.vmdk \
    --parent=base.vmdk --parent-cid=12345678 --cid=9abcdef0
"$MKIMAGE" make kdmv z-x.vmdk --capacity=1M --grain=64K --fill=50 --zero=100 --descriptor=z.vmdk \
    --parent=base.vmdk --parent-cid=12345678 --cid=9abcdef0
lie[1]='get_size=echo 1M'
# Its scripts are run by a shell that is not to be preloaded.
NBDKIT_PRELOAD="" start "${lie[@]}"
"$TOOL" apply --quiet b.vmdk "$uri" 2> err || { cat err; fail "the lie was noticed without --verify?"; }
for delta in b.vmdk z.vmdk; do
    expect_fail 'verifying failed: .*byte [0-9]+ is 0x6f, should be 0x' "$TOOL" apply --quiet --verify $delta "$uri"
done
stop
head -c 1M /dev/urandom > t
"$TOOL" apply --quiet --verify b.vmdk t 2> err || { cat err; fail "--verify of a good one"; }

# A flush that fails is an error, and the state is told.
for ((i = 0; i < ${#lie[@]}; i++)); do
    [ "${lie[i]}" != 'flush=exit 0' ] || lie[i]='flush=echo EIO cannot flush >&2; exit 1'
done
NBDKIT_PRELOAD="" start "${lie[@]}"
expect_fail 'cannot flush.*Input/output error' "$TOOL" apply --quiet b.vmdk "$uri"
grep -q 'partly old and partly new' output || fail "a failed flush: no state"
stop

# A target that goes away.
fresh original target
start --filter=delay file target delay-write=400ms
"$TOOL" apply --quiet a.vmdk "$uri" 2> err &
pid=$!
await differ original target
kill -KILL "$server_pid"
status=0
wait $pid || status=$?
wait "$server_pid" 2>/dev/null || :
servers=()
[ $status = 1 ] || { cat err; fail "the server died: status $status"; }
grep -q 'partly old and partly new' err || { cat err; fail "the server died: no state"; }
"$TOOL" apply --quiet --verify a.vmdk target 2> err
same target expected
