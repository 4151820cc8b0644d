#!/bin/bash
# A directory with three disks and nine snapshots: twelve exports with descriptions,
# each readable by its name, and nothing else is one.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/test-chain-disks.sh"
need nbdinfo

mkdir vm
names=()
n=0
for d in a b c; do
    n=$((n + 16))
    base vm/$d.vmdk "$(printf %x $n)" ${d^^}
    names+=("$d.vmdk")
    parent=$d.vmdk
    for ((i = 1; i <= 3; i++)); do
        f=$(printf '%s-%06d.vmdk' $d $i)
        child "vm/$f" "$(printf %x $((n + i)))" "$(printf %x $((n + i - 1)))" "$(hint "$parent")"
        names+=("$f") parent=$f
    done
done
# What else lies in such a directory.
printf 'CTK' > vm/c-ctk.txt
echo '.encoding = "UTF-8"' > vm/vm.vmx
mkdir vm/sub.vmdk
base vm/sub.vmdk/hidden.vmdk 99 H
base vm/.dot.vmdk 98 D
mkfifo vm/fifo.vmdk
: > vm/vmware.log

start "$PLUGIN" dir=vm
want=$(printf '%s\n' "${names[@]}" | sort | tr '\n' ' ')
[ "$(exports)" = "$want" ] || fail "exports: $(exports)"
nbdinfo --list "$uri" > list
for d in A1:a.vmdk:'FLAT, depth 0, 65536 bytes, CID 00000010, base disk' \
         A2:a-000001.vmdk:'COWD, depth 1, 65536 bytes, CID 00000011, created from a.vmdk' \
         C4:c-000003.vmdk:'COWD, depth 3, 65536 bytes, CID 00000033, created from c-000002.vmdk'; do
    IFS=: read -r _ name text <<< "$d"
    grep -A 2 -F "export=\"$name\":" list | grep -Fq "description: $text" || fail "$name: $(cat list)"
done
for name in "${names[@]}"; do
    letter=${name:0:1} letter=${letter^^}
    nbdcopy "nbd+unix:///$name?socket=$sock" out
    letters "$letter" | cmp - out || fail "$name is not disk $letter"
done

# Three disks: nothing is the default.
expect_fail "there are 12 exports and none is the default" nbdkit "$PLUGIN" dir=vm --run 'nbdinfo --size "$uri"'
stop

# The same with a path that ends in a slash, and from inside.
start "$PLUGIN" dir=vm/
[ "$(exports)" = "$want" ] || fail "exports: $(exports)"
stop
cd vm
start "$PLUGIN" dir=.
[ "$(exports)" = "$want" ] || fail "exports: $(exports)"
