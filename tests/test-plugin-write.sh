#!/bin/bash
# write=true and write-to=: clients write into the newest link, or into a child of it, and
# QEMU reads what they wrote; who may not be written is refused, by name.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need plugin nbdinfo qemu-img qemu-io

qio () { qemu-io -f raw "$@"; }
caps () { nbdkit -U - "$PLUGIN" "$@" --run 'nbdinfo --json "$uri"'; }

qemu-img create -q -f vmdk base.vmdk 70M
qio -c 'write -P 1 0 1M' -c 'write -P 2 60M 3M' --image-opts driver=vmdk,file.filename=base.vmdk > /dev/null 2>&1 ||
    qemu-io -f vmdk -c 'write -P 1 0 1M' -c 'write -P 2 60M 3M' base.vmdk > /dev/null
cp base.vmdk before.vmdk

# Off by default.
caps base.vmdk > json
grep -q '"is_read_only": true' json || fail 'writable without being asked'

# Into the disk itself.  Starting and reading changes nothing.
nbdkit -U - "$PLUGIN" base.vmdk write=true --run 'qemu-io -r -f raw -c "read -P 2 60M 3M" "$uri"' > out ||
    fail 'cannot be read'
cmp base.vmdk before.vmdk || fail 'reading changed the file'
caps base.vmdk write=true > json
for can in flush fua multi_conn trim zero; do
    grep -q "\"can_$can\": true" json || fail "no $can"
done
grep -q '"is_read_only": false' json || fail 'not writable'
nbdkit -U - "$PLUGIN" base.vmdk write=true --run 'qemu-io -f raw -c "write -P 3 100k 200k" -c flush \
    -c "write -f -P 4 33M 5000" -c "write -z 61M 1M" -c "discard 62M 64k" -c "write -P 5 73399808 512" \
    -c "read -P 1 0 100k" -c "read -P 3 100k 200k" -c "read -P 0 61M 1M" "$uri"' > out 2>&1 || fail "$(cat out)"
! grep -q 'Pattern verification failed' out || fail "$(cat out)"
qemu-img check -q base.vmdk || fail 'qemu-img finds errors'
qemu-io -r -f vmdk -c 'read -P 1 0 100k' -c 'read -P 3 100k 200k' -c 'read -P 1 300k 724k' \
    -c 'read -P 4 33M 5000' -c 'read -P 2 60M 1M' -c 'read -P 0 61M 1M' -c 'read -P 0 62M 64k' \
    -c 'read -P 2 65077248 983040' -c 'read -P 5 73399808 512' base.vmdk > out 2>&1
! grep -q 'Pattern verification failed' out || fail "QEMU reads something else: $(cat out)"
cid () { sed -n '/^CID=/{p;q}' "$1"; }
[ "$(cid base.vmdk)" != "$(cid before.vmdk)" ] || fail 'it has the same CID as before'
[ "$(od -An -tu1 -j72 -N1 base.vmdk)" -eq 0 ] || fail 'it is still marked as being written'
echo 'written: into the disk itself'

# Into a child, twice; the parent is not touched.
cp base.vmdk before.vmdk
for i in 1 2; do
    nbdkit -U - "$PLUGIN" base.vmdk write-to=run.vmdk \
        --run "qemu-io -f raw -c 'read -P 3 100k 200k' -c 'write -P 1$i ${i}0M 100k' -c flush \"\$uri\"" > out 2>&1 ||
        fail "$(cat out)"
    ! grep -q 'Pattern verification failed' out || fail "$(cat out)"
done
cmp base.vmdk before.vmdk || fail 'the parent was changed'
qemu-img check -q run.vmdk || fail 'qemu-img finds errors in the child'
qemu-io -r -f vmdk -c 'read -P 11 10M 100k' -c 'read -P 12 20M 100k' -c 'read -P 3 100k 200k' run.vmdk > out 2>&1
! grep -q 'Pattern verification failed' out || fail "QEMU reads something else: $(cat out)"
nbdkit -U - "$PLUGIN" base.vmdk write-to=run.vmdk --run "nbdinfo \"\$uri\"" > /dev/null
nbdkit -U - "$PLUGIN" base.vmdk write-to=run.vmdk \
    --run 'nbdinfo --json "nbd+unix:///base.vmdk?socket=$unixsocket"' > json
grep -q '"is_read_only": true' json || fail 'an older snapshot can be written'
echo 'written: into a child'

# Refused.
refuse () {  # TEXT ARGUMENT...
    local text=$1; shift
    ! nbdkit -U - "$PLUGIN" "$@" --run true 2> err || fail "$* is not refused"
    grep -q -- "$text" err || fail "$*: $(cat err)"
}
refuse 'run.vmdk was made on it' base.vmdk write=true
refuse 'give either write=true' base.vmdk write=true write-to=run.vmdk
refuse 'goes with file=' dir=. write-to=run.vmdk
mkdir other
qemu-img create -q -f vmdk other/base.vmdk 70M
refuse 'is not a child of' other/base.vmdk write-to=run.vmdk
refuse 'is not a child of' base.vmdk write-to=other/base.vmdk
qemu-img create -q -f raw raw.img 1M
refuse 'raw.img' base.vmdk write-to=raw.img
cmp base.vmdk before.vmdk || fail 'a refused start changed the file'
# one writer at a time
nbdkit -U - "$PLUGIN" base.vmdk write-to=run.vmdk \
    --run "LD_PRELOAD=${NBDKIT_PRELOAD:-} nbdkit -U - '$PLUGIN' base.vmdk write-to=run.vmdk --run 'echo two writers' 2> err || :" > out
! grep -q 'two writers' out || fail 'two write at the same time'
grep -q 'open for writing in another program\|locked by another' err || fail "$(cat err)"
qemu-img convert -O vmdk -o subformat=streamOptimized base.vmdk stream.vmdk
refuse 'streamOptimized.*only be read' stream.vmdk write=true
nbdkit -U - "$PLUGIN" stream.vmdk write-to=on-stream.vmdk \
    --run 'qemu-io -f raw -c "write -P 9 0 512" -c "read -P 3 100k 200k" "$uri"' > out 2>&1 || fail "$(cat out)"
! grep -q 'Pattern verification failed' out || fail "$(cat out)"
# a damaged disk is not written: an entry past the end of the file
mkdir damaged
cp before.vmdk damaged/cut.vmdk
cd damaged
truncate -s -64K cut.vmdk
cp cut.vmdk cut-before.vmdk
! nbdkit -U - "$PLUGIN" cut.vmdk write=true --run 'qemu-io -f raw -c "write -P 1 5M 64k" "$uri"' > out 2> err ||
    ! grep -q 'wrote 65536' out || fail 'a file that was cut is written'
grep -q 'nothing is written into a disk with errors' err || fail "$(cat err)"
cmp cut.vmdk cut-before.vmdk || fail 'a damaged file was changed'
echo 'refused: parents, two writers, streams, files that do not fit, damage'
