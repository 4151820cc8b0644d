#!/bin/bash
# What is far away is asked for in few round trips.  They are counted, and not timed; a busy
# machine only makes more of them, so the least of several tries counts.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/drive/hosts.sh"
need tool plugin mkimage nbdcopy ssh

# A chain of 8: vm.vmdk, which is flat, and vm-000001 to vm-000007.
mkdir vm
cd vm
"$MKIMAGE" make kdmv tmp --capacity=64M --runs=16 --fill=60 --content=noise --layer=20 --seed=20 --raw=vm-flat.vmdk
rm tmp
printf '# Disk DescriptorFile\nversion=1\nCID=01234567\nparentCID=ffffffff\ncreateType="vmfs"\nRW %s VMFS "vm-flat.vmdk"\n' $((64 << 11)) > vm.vmdk
parent=vm cid=01234567
for i in 1 2 3 4 5 6 7; do
    "$MKIMAGE" make sesparse "vm-00000$i-sesparse.vmdk" --capacity=64M --seed=$i --content=noise --layer=$i \
        --runs=3 --fill=10 --parent=$parent.vmdk --parent-cid=$cid --descriptor="vm-00000$i.vmdk"
    parent=vm-00000$i cid=fffffffe
done
cd ..

start_sshd
by=(--remote=identity="$T/user" --remote=known-hosts="$T/known")
for try in 1 2 3 4 5; do
    start_slow "${ssh##*:}" 50
    printf '[127.0.0.1]:%s %s\n' "$slow" "$(cut -d ' ' -f 1,2 host.pub)" >> known
    "$TOOL" info --chain "${by[@]}" "${ssh%:*}:$slow$T/vm/vm-000007.vmdk" > out
    [ "$(grep -c ' ok$' out)" = 8 ] || { cat out; fail 'not all are read'; }
    await test -s "$slow_log"
    [ "$(grep -c . "$slow_log")" = 1 ] || fail 'more than one login'
    trips=$(tail -n 1 "$slow_log")
    echo "info --chain by ssh: $trips round trips"
    [ "$trips" -ge 25 ] || break
    [ $try -lt 5 ] || fail "$trips round trips"
done

# A disk of 1 TiB with 1000 grains, each in a table of its own.
mkdir big
"$MKIMAGE" make sesparse big/big-sesparse.vmdk --capacity=1T --seed=3 --runs=1 --count=1000 --descriptor=big/big.vmdk
start_web "$T" delay=50
"$TOOL" map "$web/big/big.vmdk" > out
"$TOOL" map big/big.vmdk > want
cmp <(sed 1d want) <(sed 1d out) || fail 'another map'
n=$(grep -c '^GET .*sesparse' "$web_log")
echo "map of 1 TiB by http: $n requests"
# The tables are 32 MiB, and a request 4 MiB at most.
[ "$n" -le 30 ] || fail "$n requests"

# A full copy reads the tables of a layer, which all lie in one region, in one request (one
# more, if the cache has dropped them for what was read ahead).
start_web "$T"
nbdkit "$PLUGIN" "$web/vm/vm-000007.vmdk" --run 'nbdcopy "$uri" out.raw'
nbdkit "$PLUGIN" vm/vm-000007.vmdk --run 'nbdcopy "$uri" want.raw'
same want.raw out.raw
tables=$((3 << 20))     # where they are in such a file; of 128 KiB
n=$(sed -n 's/^GET .*sesparse.* bytes=\([0-9]*\)-\([0-9]*\)$/\1 \2/p' "$web_log" |
    awk -v t=$tables '$1 < t + 131072 && $2 > t { n++ } END { print n }')
echo "a full copy of 7 deltas: $n reads of tables"
[ "$n" -ge 7 ] && [ "$n" -le 10 ] || { cat "$web_log"; fail "$n reads of tables"; }
