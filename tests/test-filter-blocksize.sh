#!/bin/bash
# A base with a minimum block size gets no read that violates it.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/drive/fixture.sh"
need filter mkimage nbdcopy nbdkit:filter:blocksize-policy

simple
for minimum in 512 4096 65536; do
    serve --filter=noextents --filter=blocksize-policy file base.raw delta=x.vmdk \
        blocksize-minimum="$minimum" \
        blocksize-preferred=$((minimum > 4096 ? minimum : 4096)) blocksize-error-policy=error
    nbdcopy "$uri" out.raw
    same expected.raw out.raw
    # Every size that the client may ask for, at the smallest alignment.
    for ((at = 0; at < 1048576; at += 196608)); do
        read_range $at $minimum > piece
        cmp -i $at:0 -n $minimum expected.raw piece || fail "differs at $at"
    done
    stop
done

# And no request that is larger than the maximum.
serve --filter=noextents --filter=blocksize-policy file base.raw delta=x.vmdk \
    blocksize-minimum=512 blocksize-preferred=4096 blocksize-maximum=64K blocksize-error-policy=error
for ((at = 0; at < 4194304; at += 65536)); do
    read_range $at 65536 > piece
    cmp -i $at:0 -n 65536 expected.raw piece || fail "differs at $at"
done
