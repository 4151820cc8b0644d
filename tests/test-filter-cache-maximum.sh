#!/bin/bash
# A base that takes only small requests: requests to cache have no payload, so they may be
# as large as the disk; what they read of the base is not larger than it allows.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need filter mkimage nbdsh nbdkit:plugin:file nbdkit:filter:blocksize-policy
# libnbd's module is in the system's Python; another one may be first on the path.
nbdsh () { PATH=/usr/bin:$PATH command nbdsh "$@"; }
nbdsh -c 'import nbd' 2> /dev/null || skip 'nbdsh has no Python module'

size=8M
"$MKIMAGE" make cowd a-delta.vmdk --capacity=$size --fill=30 --descriptor=a.vmdk \
    --parent=base.vmdk --parent-cid=12345678 --cid=9abcdef0
head -c $size /dev/urandom > base
for maximum in 65536 131072 1048576; do
    serve --filter=blocksize-policy file base delta=a.vmdk blocksize-minimum=512 \
        blocksize-preferred=4096 blocksize-maximum=$maximum blocksize-error-policy=error
    nbdsh -u "$uri" -c 'h.cache(h.get_size(), 0); h.cache(h.get_size() - 1024, 512)' ||
        fail "a request to cache with a base that takes $maximum bytes"
    nbdsh -u "$uri" -c 'import sys
for at in range(0, h.get_size(), 65536): sys.stdout.buffer.write(h.pread(65536, at))' > got
    stop
    serve file base delta=a.vmdk
    nbdsh -u "$uri" -c 'import sys
for at in range(0, h.get_size(), 1 << 20): sys.stdout.buffer.write(h.pread(1 << 20, at))' > want
    stop
    same got want
done
