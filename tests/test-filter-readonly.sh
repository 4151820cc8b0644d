#!/bin/bash
# Nobody can write: neither to the base nor to the delta.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/drive/fixture.sh"
need filter mkimage nbdinfo qemu-io

simple
state () { sha256sum base.raw x.vmdk x-cowd.vmdk; stat -c '%n %s %Y %Z' base.raw x.vmdk x-cowd.vmdk; }
state > before
sleep 1.1  # so that a change would change the times

for r in '' -r; do
    serve $r file base.raw delta=x.vmdk
    nbdinfo --is read-only "$uri" || fail 'not read-only'
    for what in write trim zero flush fua; do
        ! nbdinfo --can $what "$uri" || fail "it says that it can $what"
    done
    for command in 'write 0 4k' 'write -z 0 64k' 'discard 0 1M'; do
        expect_fail '[Rr]ead-only|not permitted|Permission denied' qemu-io -f raw -c "$command" "$uri"
    done
    stop
done
state > after
same before after
