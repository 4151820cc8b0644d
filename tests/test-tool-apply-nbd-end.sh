#!/bin/bash
# An export that is not a whole number of its server's blocks: its end is written where
# the server allows that; where not, nothing is.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need tool mkimage nbdkit:plugin:file nbdkit:filter:blocksize-policy

size=$((1048576 + 1536))
"$MKIMAGE" make cowd a-delta.vmdk --capacity=$size --fill=100 --descriptor=a.vmdk \
    --parent=base.vmdk --parent-cid=12345678 --cid=9abcdef0
head -c $size /dev/urandom > base
cp base want
"$TOOL" apply --quiet a.vmdk want
cmp -s <(tail -c 1536 base) <(tail -c 1536 want) && fail 'the delta does not hold the end'

for minimum in 4096 65536; do
    policy=(--filter=blocksize-policy file target blocksize-minimum=$minimum blocksize-preferred=65536
        blocksize-maximum=131072)
    cp base target
    start "${policy[@]}" blocksize-error-policy=allow
    "$TOOL" apply --quiet --verify --undo=undo.vmdk a.vmdk "$uri"
    cmp target want
    "$TOOL" apply --quiet --verify undo.vmdk "$uri"
    cmp target base
    stop
    rm undo.vmdk
    start "${policy[@]}" blocksize-error-policy=error
    # nbdkit 1.48 allows the end of an export even so.
    if "$TOOL" apply --quiet --verify a.vmdk "$uri" 2> err; then
        cmp target want
    else
        grep -q 'its end cannot be reached, so nothing was written: 1536 bytes at byte 1048576' err ||
            { cat err; fail 'not what is expected'; }
        cmp target base
    fi
    stop
done
