#!/bin/bash
# With the cow filter on top it can be written to, and base and delta stay as they are.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/drive/fixture.sh"
need filter mkimage nbdcopy qemu-io nbdkit:filter:cow

simple
sha256sum base.raw x.vmdk x-cowd.vmdk > before
start --filter=cow --filter="$FILTER" file base.raw delta=x.vmdk
qemu-io -f raw -c 'write -P 0xab 12345 100000' -c 'write -z 1M 64k' -c 'discard 2M 128k' "$uri"
qemu-io -f raw -c 'read -P 0xab 12345 100000' -c 'read -P 0 1M 64k' "$uri" > log
! grep -q 'verification failed' log || fail "$(cat log)"
nbdcopy "$uri" out.raw
stop
head -c 100000 /dev/zero | tr '\0' '\253' | dd of=expected.raw bs=1 seek=12345 conv=notrunc status=none
dd if=/dev/zero of=expected.raw bs=64K seek=16 count=1 conv=notrunc status=none
cmp -n 2097152 expected.raw out.raw || fail 'differs'
cmp -i $((2097152 + 131072)) expected.raw out.raw || fail 'differs'
sha256sum base.raw x.vmdk x-cowd.vmdk > after
same before after
