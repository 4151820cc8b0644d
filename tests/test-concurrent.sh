#!/bin/bash
# Sixteen clients with mixed requests in flight, all answers compared; a lock held over I/O
# below would show; clients that vanish; SIGTERM while clients are at work.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/drive/fixture.sh"
need filter plugin mkimage nbdkit:plugin:eval

swarm=$builddir/tests/swarm
n=150
[ -z "${SANITIZE:-}" ] || n=40

# ---- Right answers ------------------------------------------------------------

simple
delta st stream --parent-cid=fffffffe
serve file base.raw delta=x.vmdk delta=st.vmdk
cp expected.raw both.raw
overlay both.raw st.raw
"$swarm" 16 $n $RANDOM "$uri" both.raw
stop
# with so little room, parts of the map come and go all the time
serve file base.raw delta=x.vmdk delta-cache-size=1M
"$swarm" 16 $n $RANDOM "$uri" expected.raw
stop

mkdir vm
i=0
for format in cowd kdmv stream sesparse; do
    "$MKIMAGE" make $format vm/$format-data.vmdk --capacity=4M --fill=60 --runs=2 --seed=$((i += 1)) \
        --descriptor=vm/$format.vmdk --cid=$i --raw=$format.raw
done
start "$PLUGIN" dir=vm
# The requests to cache are answered by ourselves: nbdkit would read into one buffer for
# all threads, where an inflated grain does not stay what it is.
exports=()
for format in cowd kdmv stream sesparse; do
    exports+=("nbd+unix:///$format.vmdk?socket=$sock" $format.raw)
done
"$swarm" 16 $n $RANDOM "${exports[@]}"
stop

# ---- No lock is held while the base answers -------------------------------------

# Eight clients read what only the base holds, and the base answers none of them before
# all eight have asked.  (Its scripts are run by a shell that is not to be preloaded.)
"$MKIMAGE" make cowd none-delta.vmdk --capacity=4M --fill=0 --parent-cid=fffffffe --descriptor=none.vmdk
cat > pread.sh <<'END'
[ -e "$2/gate" ] || exec dd if="$2/base.raw" bs=512 skip=$(($4 / 512)) count=$(($3 / 512)) status=none
: > "$2/asked.$4"
i=0
while [ "$(ls "$2" | grep -c '^asked')" -lt 8 ]; do
    [ $((i += 1)) -lt 1200 ] || { echo EIO the others do not ask >&2; exit 1; }
    sleep 0.1
done
exec dd if="$2/base.raw" bs=512 skip=$(($4 / 512)) count=$(($3 / 512)) status=none
END
gated=(eval thread_model='echo parallel' get_size='echo 4194304' pread="sh '$T/pread.sh' x '$T' \$3 \$4" delta=none.vmdk)
# The shells of eval are not to be preloaded, and without its runtime a filter with
# sanitizers does not load.
if [ ! "${SANITIZE:-}" ]; then
    NBDKIT_PRELOAD="" serve "${gated[@]}"
    read_range 0 512 > one      # the map is there now
    : > gate
    pids=()
    for i in 0 1 2 3 4 5 6 7; do
        read_range $((i * 65536)) 4096 > piece$i & pids+=($!)
    done
    for pid in "${pids[@]}"; do wait "$pid" || fail 'the reads wait for each other'; done
    for i in 0 1 2 3 4 5 6 7; do cmp -n 4096 -i 0:$((i * 65536)) piece$i base.raw; done
    stop
fi

# ---- Clients that vanish ----------------------------------------------------------

# nbdkit does not close connections that are open when it ends, so their handles leak.
export ASAN_OPTIONS=${ASAN_OPTIONS:-}:detect_leaks=0

# When a client vanishes with requests in flight, nbdkit 1.32 itself can run into this
# assertion, with any plugin.  Nothing else is excused.
known_abort () {  # LOG
    grep -q "raw_send_socket: Assertion .sock >= 0. failed" "$1" &&
        ! grep -Eq 'Sanitizer|runtime error|vmdkdelta.*Assertion|free\(\)|malloc' "$1"
}

# The server started last is gone, or is told to end: is that in order?
ended () {  # LOG
    local status=0
    wait "$server_pid" || status=$?
    servers=()
    [ $status -eq 0 ] || known_abort "$1" || { cat "$1"; fail "status $status"; }
}

serve file base.raw delta=x.vmdk 2> log
: > errors
for i in 1 2 3; do
    "$swarm" 16x1 1000000 $i "$uri" expected.raw 2> /dev/null & pid=$!
    sleep 0.3
    kill -KILL $pid 2> /dev/null || :
    wait $pid 2> /dev/null || :
done
if kill -0 "$server_pid" 2> /dev/null &&
   "$swarm" 16x1 20 $RANDOM "$uri" expected.raw 2> errors; then
    kill -TERM "$server_pid"
fi
ended log
if grep -E 'compare|wrong answer' errors; then fail 'wrong bytes after others had vanished'; fi

# ---- SIGTERM while they are at work --------------------------------------------------

for what in filter plugin; do
    if [ $what = filter ]; then serve file base.raw delta=x.vmdk 2> log; file=expected.raw
    else start "$PLUGIN" vm/kdmv.vmdk 2> log; file=kdmv.raw; fi
    "$swarm" 16x1 1000000 1 "$uri" $file 2> errors & pid=$!
    sleep 0.3
    kill -TERM "$server_pid"
    ended log
    wait $pid 2> /dev/null || :
    if grep -E 'compare|wrong answer' errors; then fail "$what: wrong bytes at the end"; fi
done
