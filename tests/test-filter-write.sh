#!/bin/bash
# delta-write=true and delta-write-to=: clients write into the newest delta, or into one on
# top; the base is never touched.  What they wrote is read by a filter that only reads.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/drive/fixture.sh"
need filter tool mkimage nbdcopy nbdinfo qemu-io nbdkit:plugin:nbd

simple
sha256sum base.raw > base.sum
serve () { nbdkit -U - --filter="$FILTER" file base.raw "$@"; }
qio () {  # ARGUMENT... -- COMMAND...: through a server
    local args=() commands=()
    while [ "$1" != -- ]; do args+=("$1"); shift; done
    shift
    for c; do commands+=(-c "$c"); done
    serve "${args[@]}" --run "qemu-io -f raw $(printf '%q ' "${commands[@]}") \"\$uri\"" > out 2>&1 || fail "$(cat out)"
    ! grep -q 'verification failed' out || fail "$(cat out)"
    sha256sum -c --quiet base.sum || fail 'the base was changed'
}

# Into the delta itself.
serve delta=x.vmdk --run 'nbdcopy "$uri" expected.raw'
cp x.vmdk original.vmdk
serve delta=x.vmdk delta-write=true --run 'nbdcopy "$uri" out.raw'
cmp expected.raw out.raw || fail 'it reads differently when it can be written'
cmp x.vmdk original.vmdk || fail 'reading changed the delta'
qio delta=x.vmdk delta-write=true -- 'write -P 0xab 12345 100000' 'write -f -P 0xcd 3M 512' 'write -z 1M 64k' 'flush' \
    'read -P 0xab 12345 100000'
head -c 100000 /dev/zero | tr '\0' '\253' | dd of=expected.raw bs=1 seek=12345 conv=notrunc status=none
head -c 512 /dev/zero | tr '\0' '\315' | dd of=expected.raw bs=1M seek=3 conv=notrunc status=none
dd if=/dev/zero of=expected.raw bs=64K seek=16 count=1 conv=notrunc status=none
serve delta=x.vmdk --run 'nbdcopy "$uri" out.raw'
cmp expected.raw out.raw || fail 'a filter that only reads gets something else'
"$TOOL" check x.vmdk > out || fail "$(cat out)"
serve delta=x.vmdk --run 'nbdinfo --json "$uri"' > json
grep -q '"is_read_only": true' json || fail 'writable without being asked'
echo 'written: into the delta'

# Into one on top of it, which is made, and gone on with.
sha256sum x.vmdk > x.sum
for i in 1 2; do
    qio delta=x.vmdk delta-write-to=top.vmdk -- "write -P $i ${i}00k 7000" flush
    head -c 7000 /dev/zero | tr '\0' "\\$i" | dd of=expected.raw bs=1k seek=${i}00 conv=notrunc status=none
done
sha256sum -c --quiet x.sum || fail 'the delta below was changed'
serve delta=x.vmdk delta=top.vmdk --run 'nbdcopy "$uri" out.raw'
cmp expected.raw out.raw || fail 'what is on top is not as it was written'
echo 'written: on top of the delta'

# Over any export, without a delta: what is written from now on.
mkdir any; cd any
cp ../base.raw .
start file ../base.raw
base_sock=$sock
for i in 1 2; do
    nbdkit -U - --filter="$FILTER" nbd socket="$base_sock" delta-write-to=today.vmdk \
        --run "qemu-io -f raw -c 'write -P $i ${i}M 100000' -c 'discard 0 64k' -c flush \"\$uri\"" > out 2>&1 || fail "$(cat out)"
done
nbdkit -U - --filter="$FILTER" nbd socket="$base_sock" delta=today.vmdk --run 'nbdcopy "$uri" out.raw'
for i in 1 2; do
    head -c 100000 /dev/zero | tr '\0' "\\$i" | dd of=base.raw bs=1M seek=$i conv=notrunc status=none
done
dd if=/dev/zero of=base.raw bs=64K count=1 conv=notrunc status=none
cmp base.raw out.raw || fail 'over an NBD export something else is there'
cd ..
sha256sum -c --quiet base.sum || fail 'the base was changed'
echo 'written: over an export without deltas'

refuse () {  # TEXT ARGUMENT...
    local text=$1; shift
    ! serve "$@" --run 'nbdinfo "$uri"' > out 2> err || fail "$* is not refused"
    grep -q -- "$text" err || fail "$*: $(cat err)"
}
refuse 'top.vmdk was made on it' delta=x.vmdk delta-write=true
refuse 'give either delta-write=true' delta=x.vmdk delta-write=true delta-write-to=y.vmdk
refuse 'needs delta=' delta-write=true
refuse 'base.raw' delta=x.vmdk delta-write-to=base.raw
mkdir none
refuse 'none/deeper/new.vmdk' delta-write-to=none/deeper/new.vmdk
echo 'refused: parents, both ways at once, files that are no delta'
