#!/bin/bash
# Hostile images in a server: what they can make it use is bounded, here by limits that
# this test sets and measures, and the good disks beside them are served.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/drive/fixture.sh"
need filter plugin mkimage nbdinfo

# used: the most memory of the server so far, MiB.  Sanitizers take more: not compared.
used () { awk '/^VmHWM/ { print int ($2 / 1024) }' "/proc/$server_pid/status"; }
at_most () {  # MIB WHAT
    local n
    n=$(used)
    echo "$2: $n MiB"
    [ "${SANITIZE:-}" ] || [ "$n" -le "$1" ] || fail "$2: the server used $n MiB, allowed are $1"
}
[ "${SANITIZE:-}" ] || ulimit -v $((6 << 20))   # KiB, with the stacks of all threads
secret=do-not-tell-$RANDOM$RANDOM

# ---- Names that lead elsewhere, beside a good disk ------------------------------

mkdir vm out
yes "$secret" | head -c 65536 > out/secret.raw || :
ln -s ../out/secret.raw vm/link.raw
ln -s ../out vm/dir
"$MKIMAGE" make kdmv vm/good-s001.vmdk --capacity=1M --fill=60 --descriptor=vm/good.vmdk --cid=1 --raw=good.raw
n=0
for name in "$T/out/secret.raw" ../out/secret.raw link.raw dir/secret.raw /proc/self/environ \
            /dev/zero good-s001.vmdk/../../out/secret.raw; do
    printf '# Disk DescriptorFile\nCID=9\nparentCID=ffffffff\nRW 128 FLAT "%s" 0\n' "$name" > vm/bad$((n += 1)).vmdk
done
start "$PLUGIN" dir=vm
nbdinfo --list "$uri" > list 2>&1
if grep -q 'bad[0-9]' list; then fail "one is served: $(grep bad list)"; fi
for ((i = 1; i <= n; i++)); do
    expect_fail . nbdcopy "nbd+unix:///bad$i.vmdk?socket=$sock" got
    if [ -e got ] && grep -q "$secret" got; then fail "bad$i tells what is in another file"; fi
    rm -f got
done
nbdcopy "nbd+unix:///good.vmdk?socket=$sock" got
same got good.raw
at_most 100 'names that lead elsewhere'
stop

# ---- A directory as large as one may be -------------------------------------------

# 2^25 tables, 128 MiB of directory, all in a hole of the file; and one table more.
"$MKIMAGE" make kdmv big.vmdk --capacity=1M --fill=0 --embedded --parent-cid=fffffffe
poke big.vmdk 12 00 00 00 00 08 00 00 00    # capacity: 2^35 sectors
poke big.vmdk 20 02 00 00 00 00 00 00 00    # grain: 2
poke big.vmdk 28 00 00 00 00 00 00 00 00    # no descriptor
poke big.vmdk 44 00 02 00 00                # 512 entries in a table
poke big.vmdk 56 00 00 10 00 00 00 00 00    # directory: at 512 MiB
poke big.vmdk 48 00 00 10 00 00 00 00 00
truncate -s 1G big.vmdk
truncate -s 8T base.raw
serve file base.raw delta=big.vmdk delta-allow-short-base=true
# spent: seconds of the processor.
spent () { awk -v hz="$(getconf CLK_TCK)" '{ sub (/.*\) /, ""); print int (($12 + $13) / hz) }' "/proc/$server_pid/stat"; }
nbdinfo --size "$uri" | grep -qx $((1 << 44))
for i in 0 1 3 7 11 15; do read_range $((i << 40)) 65536 > piece; done
nbdinfo --map --totals "$uri" > map & pid=$!
( sleep 20; kill $pid 2> /dev/null ) & timer=$!
wait $pid 2> /dev/null || :
kill $timer 2> /dev/null || :
at_most 300 'the largest directory'
[ "$(spent)" -le $([ "${SANITIZE:-}" ] && echo 400 || echo 60) ] || fail "the server has spent $(spent) seconds"
kill -0 "$server_pid" || fail 'the server is gone'
stop
poke big.vmdk 12 01 00 00 00 08 00 00 00
expect_fail 'allowed are 33554432' nbdkit_run null size=1M delta=big.vmdk --run true

# ---- Compressed bombs ----------------------------------------------------------------

# 16 MiB in some KiB, the most that a compressed grain can be; eight clients each want 512
# bytes of it, all the time from another grain.
"$MKIMAGE" make stream bomb.vmdk --grain=16M --capacity=256M --fill=100 --content=zeros --embedded \
    --parent-cid=fffffffe --level=9 --raw=bomb.raw
truncate -s 256M base2.raw
serve file base2.raw delta=bomb.vmdk
pids=()
for k in 0 1 2 3 4 5 6 7; do
    ( for i in 0 1 2 3; do read_range $(((i * 8 + k) % 16 * (16 << 20) + 4096)) 512 > piece$k; done ) & pids+=($!)
done
for pid in "${pids[@]}"; do wait "$pid" || fail 'a client failed'; done
at_most 400 'compressed bombs'
stop
