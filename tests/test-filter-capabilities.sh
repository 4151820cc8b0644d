#!/bin/bash
# The complete answer to "what can you do", in all its fields.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/drive/fixture.sh"
need filter mkimage nbdinfo

simple

# field NAME: what the export says.
field () { nbdinfo --json "$uri" | sed -n "s/.*\"$1\": *\"\\{0,1\\}\\([^\",]*\\).*/\\1/p" | head -n 1; }

# check NAME=VALUE...
check () {
    local f
    for f; do
        [ "$(field "${f%%=*}")" = "${f#*=}" ] || fail "${f%%=*} is $(field "${f%%=*}"), expected ${f#*=}"
    done
}

serve file base.raw delta=x.vmdk
check export-size=4194304 is_read_only=true can_cache=true can_df=true can_fast_zero=false \
    can_flush=false can_fua=false can_multi_conn=true can_trim=false can_zero=false \
    is_rotational=false block_size_minimum=1 block_size_preferred=4096
nbdinfo --json "$uri" | grep -q '"base:allocation"' || fail 'no base:allocation'
stop

# The preferred size is that of the largest grain, the rest is the base's.
delta big kdmv --grain=1M
serve --filter=blocksize-policy file base.raw delta=big.vmdk \
    blocksize-minimum=512 blocksize-preferred=4096 blocksize-maximum=32M
check block_size_minimum=512 block_size_preferred=1048576 block_size_maximum=33554432
stop
serve --filter=blocksize-policy file base.raw delta=x.vmdk \
    blocksize-minimum=512 blocksize-preferred=64K blocksize-maximum=1M
check block_size_minimum=512 block_size_preferred=65536 block_size_maximum=1048576
stop

# Of the base comes whether several connections see the same.
serve eval get_size='echo 4194304' pread='dd if=/dev/zero bs=1 count=$3 status=none' \
    can_multi_conn='exit 3' delta=x.vmdk
check can_multi_conn=false
