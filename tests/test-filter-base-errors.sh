#!/bin/bash
# A base that fails in each of its answers, and in others than nbdkit's own plugins give:
# each error reaches the client, and the server lives on.  Every callback by itself, with
# what nbdkit would assert, is in tests/unit/test-filter-callbacks.c.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/drive/fixture.sh"
need filter mkimage nbdcopy nbdinfo nbdkit:plugin:eval

simple
export BASE=$T/base.raw
read='LD_PRELOAD= dd if="$BASE" bs=512 skip=$(($4 / 512)) count=$(($3 / 512)) iflag=fullblock status=none'
size='echo 4194304'

# over ARGS...: the filter over a base of shell scripts.
over () { serve eval "$@" delta=x.vmdk 2> log || fail "$(cat log)"; }
# The client is told, and the next one is served.
alive () { kill -0 "$server_pid" || fail "the server is gone: $1"; stop; }

# errno NAME TEXT: what a read that fails like this gives to the client.
errno () {
    over get_size="$size" can_extents='exit 0' pread="echo $1 >&2; exit 1" extents="echo $1 >&2; exit 1"
    expect_fail "$2" read_range 0 4096
    expect_fail . nbdinfo --map "$uri"
    expect_fail "$2" read_range 4190208 4096
    alive "$1"
}
errno EIO 'Input/output error'
errno ENOMEM 'Cannot allocate memory'
errno ENOSPC 'No space left on device'
for e in EPERM EINVAL ESHUTDOWN EROFS EOVERFLOW ENOTSUP 'no reason'; do errno "$e" 'Input/output error'; done

# refused KEY=SCRIPT...: no client is served over it, each is told so, and the server lives.
refused () {
    case $1 in get_size=*) ;; *) set -- "$@" get_size="$size" ;; esac
    over pread="$read" "$@"
    expect_fail . nbdinfo --size "$uri"
    expect_fail . nbdinfo --size "$uri"
    alive "$*"
}
refused can_extents='echo EIO no >&2; exit 1'
refused can_multi_conn='echo EIO no >&2; exit 1'
refused is_rotational='echo EIO no >&2; exit 1'
refused block_size='echo EIO no >&2; exit 1'
refused block_size='echo 3 1000 7'
refused open='echo EIO no >&2; exit 1'
refused get_size='echo EIO no >&2; exit 1'
refused get_size='echo -1'
refused get_size='echo much'

# Block status that begins late, ends early, is empty or nonsense.
for extents in 'echo 0 512 0' 'echo $4 65536 hole,zero' 'echo $(($4 + 512)) 512 0' ':' 'echo x' 'echo 0 4G hole'; do
    over get_size="$size" pread="$read" can_extents='exit 0' extents="$extents"
    nbdinfo --map "$uri" > map || :
    read_range 0 4194304 > out.raw
    same expected.raw out.raw
    alive "extents: $extents"
done

# The base has another size for each client: only the first is served.
over get_size='echo x >> $tmpdir/n; echo $((4194304 + 512 * $(wc -l < $tmpdir/n)))' pread="$read"
nbdinfo --size "$uri" > /dev/null
expect_fail . nbdinfo --size "$uri"
grep -q 'not the same any more' log || fail "$(cat log)"
alive size

# Block sizes that are lawful of a base, and would not be of us (1536 is no power of two):
# QEMU refuses such a server.
over get_size="$size" pread="$read" block_size='echo 512 512 1536'
[ "$(nbdinfo --json "$uri" | sed -n 's/.*"block_size_preferred": *"\{0,1\}\([0-9]*\).*/\1/p')" = 1024 ] ||
    fail "$(nbdinfo --json "$uri")"
if command -v qemu-img > /dev/null; then qemu-img info "nbd+unix:///?socket=$sock" > /dev/null; fi
alive block
