#!/bin/bash
# write=true for a directory and for a machine: each disk that nothing stands on can be
# written, all others are read-only, and the server says why; and write-format=.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/test-chain-disks.sh"
. "$top_srcdir/tests/machine.sh"
need plugin tool nbdinfo qemu-img qemu-io

# named NAME: the URI of this export
named () { echo "nbd+unix:///$(sed 's/{/%7B/g; s/}/%7D/g; s/ /%20/g' <<< "$1")?socket=$sock"; }
read_only () { nbdinfo --json "$(named "$1")" | sed -n 's/.*"is_read_only": \(true\|false\).*/\1/p'; }
expect () {  # true|false NAME...
    local want=$1 name; shift
    for name; do [ "$(read_only "$name")" = "$want" ] || fail "$name: is_read_only is not $want"; done
}
qio () { qemu-io -f raw "$@" > out 2>&1 || fail "$* $(cat out)"; ! grep -q "rror\|failed" out || fail "$* $(cat out)"; }

# A directory: two disks with a snapshot each, one of two, and a stream.
mkdir dir; cd dir
qemu-img create -q -f vmdk a.vmdk 1M
qemu-img create -q -f vmdk -b a.vmdk -F vmdk a1.vmdk
qemu-img create -q -f vmdk -b a1.vmdk -F vmdk a2.vmdk
qemu-img create -q -f vmdk b.vmdk 1M
qemu-img convert -O vmdk -o subformat=streamOptimized b.vmdk s.vmdk
sha256sum a.vmdk a1.vmdk s.vmdk > ../sums
start "$PLUGIN" dir=. write=true 2> log
expect true a.vmdk a1.vmdk s.vmdk
expect false a2.vmdk b.vmdk
grep -q 'export a.vmdk is read-only: .*a1.vmdk' log || fail "who stands on a.vmdk is not said: $(cat log)"
grep -q 'export s.vmdk is read-only: .*streamOptimized' log || fail "why s.vmdk is not written is not said: $(cat log)"
qio -c 'write -P 1 0 64k' -c flush "$(named a2.vmdk)"
qio -c 'write -P 2 0 64k' "$(named b.vmdk)"
! qemu-io -f raw -c 'write 0 512' "$(named a1.vmdk)" > out 2>&1 || fail 'a parent is written'
qio -r -c 'read -P 0 0 64k' "$(named a1.vmdk)"
stop
sha256sum -c --quiet ../sums || fail 'a parent or a stream was changed'
qemu-io -r -f vmdk -c 'read -P 1 0 64k' a2.vmdk > out 2>&1 || fail "$(cat out)"
! grep -q 'verification failed' out || fail 'QEMU reads something else'
# one that gets a child while it is served
start "$PLUGIN" dir=. write=true 2> log
qemu-img create -q -f vmdk -b b.vmdk -F vmdk b1.vmdk
expect true b.vmdk
stop
cd ..
echo 'written: the newest of each disk of a directory'

# A machine: what it has now; not its snapshots.
make_machine vm
start "$PLUGIN" vm/tree.vbox write=true 2> log
expect false disk0 disk1
expect true disk0@s1 disk0@s2 disk1@s1 disk1@s3
qio -c 'write -P 9 0 4096' -c flush "$(named disk0)"
qio -r -c 'read -P 9 0 4096' -c 'read -P 4 4096 4096' "$(named disk0)"
stop
start "$PLUGIN" vm/tree.vbox
qio -r -c 'read -P 9 0 4096' -c 'read -P 4 4096 4096' "$(named disk0)"
qio -r -c 'read -P 1 0 4096' "$(named disk0@s1)"
stop
"$TOOL" info vm/tree.vbox > out || fail "$(cat out)"
sed -i 's/<Machine /<Machine stateFile="x.sav" /' vm/tree.vbox
! nbdkit -U - "$PLUGIN" vm/tree.vbox write=true --run true 2> err || fail 'a machine in the Saved state is written'
grep -q 'Saved' err || fail "$(cat err)"
echo 'written: the current disks of a machine'

refuse () {  # TEXT ARGUMENT...
    local text=$1; shift
    ! nbdkit -U - "$PLUGIN" "$@" --run true 2> err || fail "$* is not refused"
    grep -q -- "$text" err || fail "$*: $(cat err)"
}
# write-format=
mkdir formats; cd formats
qemu-img create -q -f vmdk base.vmdk 1M
qemu-io -f vmdk -c 'write -P 7 0 1M' base.vmdk > out
for format in kdmv cowd; do
    nbdkit -U - "$PLUGIN" base.vmdk write-to=$format.vmdk write-format=$format \
        --run 'qemu-io -f raw -c "write -P 8 0 512" "$uri"' > out 2>&1 || fail "$(cat out)"
    "$TOOL" info $format.vmdk > out
    grep -qi "$format" out || fail "it is no $format: $(cat out)"
    qemu-io -r -f vmdk -c 'read -P 8 0 512' -c 'read -P 7 512 64k' $format.vmdk > out 2>&1
    ! grep -q 'rror\|verification failed' out || fail "$format: $(cat out)"
    rm $format*.vmdk
done
refuse 'no UUID' base.vmdk write-to=c.vdi write-format=vdi
refuse 'no format for a new child' base.vmdk write-to=c.vmdk write-format=qcow2
refuse 'goes with write-to=' base.vmdk write=true write-format=kdmv
[ ! -e c.vdi ] || fail 'refused, but it is there'
qemu-img create -q -f vdi base.vdi 1M
refuse 'descriptor' base.vdi write-to=c.vmdk write-format=kdmv
[ ! -e c.vmdk ] || fail 'refused, but it is there'
echo 'write-format: kdmv, cowd, and what does not fit'
