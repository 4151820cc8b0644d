#!/bin/bash
# A server that offers several connections and serves fewer, or closes them, or takes no
# more: the work is done with those that came, and the bytes are right.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need tool mkimage qemu-nbd nbdkit:plugin:file nbdkit:filter:limit

size=8M
"$MKIMAGE" make cowd a-delta.vmdk --capacity=$size --fill=60 --descriptor=a.vmdk \
    --parent=base.vmdk --parent-cid=12345678 --cid=9abcdef0
head -c $size /dev/urandom > base
cp base want
"$TOOL" apply --quiet a.vmdk want
if cmp -s base want; then fail 'the delta changes nothing'; fi

# shared N FILE [ARG...]: qemu-nbd accepts more than N, and lets them wait for ever.
shared () {
    local n=$1 file=$2 i
    shift 2
    sock=$T/q$((launched += 1)).sock
    uri="nbd+unix:///?socket=$sock"
    qemu-nbd --shared="$n" --persistent -f raw -k "$sock" "$@" "$file" & qemu=$!
    for ((i = 0; i < 200; i++)); do
        if [ -S "$sock" ]; then return 0; fi
        sleep 0.05
    done
    fail 'qemu-nbd does not listen'
}
unshare () { kill "$qemu" 2>/dev/null || :; wait "$qemu" || :; }
on_exit unshare

for n in 1 2 3; do
    cp base target
    shared $n target
    timeout 60 "$TOOL" apply --threads=8 --verify a.vmdk "$uri" > out
    unshare
    grep -qx "server  $n of 8 connections" out || { cat out; fail "shared=$n"; }
    same target want
done
# As many as are asked for
cp base target
shared 4 target
timeout 60 "$TOOL" apply --threads=4 --verify a.vmdk "$uri" > out
if grep 'server' out; then fail 'it took all of them'; fi
unshare
same target want

# Two exports of one server: each gets one before the other gets its second.
shared 2 want -r
timeout 60 "$TOOL" create --from "$uri" --to "$uri" --json e.vmdk > out
grep -q '"data-grains": 0' out || { cat out; fail 'a disk differs from itself'; }
unshare

# Here the connection is closed, with a word or without.
for n in 1 2; do
    cp base target
    start --filter=limit file target limit=$n
    timeout 60 "$TOOL" apply --threads=8 --verify a.vmdk "$uri" > out
    stop
    grep -qx "server  $n of 8 connections" out || { cat out; fail "limit=$n"; }
    same target want
done

# The first one must come.
cat > deaf.py <<'END'
import socket, sys, time
s = socket.socket (socket.AF_UNIX)
s.bind (sys.argv[1])
s.listen (9)
c, _ = s.accept ()
if sys.argv[2] == 'close':
    c.close ()
    sys.exit (0)
time.sleep (3600)
END
if command -v python3 > /dev/null; then
    python3 deaf.py "$T/deaf.sock" close & deaf=$!
    for ((i = 0; i < 200; i++)); do
        if [ -S deaf.sock ]; then break; fi
        sleep 0.05
    done
    expect_fail 'cannot connect' timeout 60 "$TOOL" apply a.vmdk "nbd+unix:///?socket=$T/deaf.sock"
    wait $deaf
fi
