#!/bin/bash
# Clients: nbdsh, libnbd in Python.  Block status and structured reads agree, requests
# past the end and writes are refused, and the connection survives that.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/drive/served.sh"
need nbdsh
# libnbd's module is in the system's Python; another one may be first on the path.
nbdsh () { PATH=/usr/bin:$PATH command nbdsh "$@"; }
nbdsh -c 'import nbd' 2>/dev/null || skip 'nbdsh has no Python module'

cat > script.py <<'END'
import os
want = open("expected.raw", "rb").read()
size = h.get_size()
assert size == len(want)
assert h.is_read_only()
assert h.pread(size, 0) == want
for at, n in [(0, 1), (1, 511), (511, 2), (65535, 2), (size - 1, 1), (1234567, 300000)]:
    assert h.pread(n, at) == want[at:at + n], (at, n)

# Structured replies: the chunks make up the answer, and holes are zeros.
buf = bytearray(size)
seen = []
def chunk(data, offset, status, error):
    seen.append((offset, len(data), status))
    buf[offset:offset + len(data)] = data
    if status == nbd.READ_HOLE:
        assert not any(want[offset:offset + len(data)])
h.pread_structured(size, 0, chunk)
assert bytes(buf) == want

# Block status: no gaps, and what is called zero is zero.
at = 0
while at < size:
    got = []
    h.block_status(size - at, at, lambda context, offset, entries, err:
                   got.extend(entries) if context == "base:allocation" else None)
    assert got
    for n, flags in zip(got[::2], got[1::2]):
        if flags & nbd.STATE_ZERO:
            assert not any(want[at:at + n])
        at += n
assert at == size

# Refused, and then it goes on.
h.set_strict_mode(0)
for request in [lambda: h.pread(2, size - 1), lambda: h.pwrite(b"x", 0),
                lambda: h.zero(512, 0), lambda: h.trim(512, 0)]:
    try:
        request()
    except nbd.Error:
        pass
    else:
        raise Exception("not refused")
assert h.pread(4096, 0) == want[:4096]

# Many requests at a time.
pending = []
for i in range(200):
    at = i * 20011
    b = nbd.Buffer(4096)
    pending.append((h.aio_pread(b, at), at, b))
while pending:
    h.poll(-1)
    for p in [p for p in pending if h.aio_command_completed(p[0])]:
        pending.remove(p)
        assert p[2].to_bytearray() == want[p[1]:p[1] + 4096]
END
read_it () { nbdsh --base-allocation -u "$uri" -c 'exec (open ("script.py").read ())' > log 2>&1 || { cat log; fail "$server"; }; }
for_both read_it
