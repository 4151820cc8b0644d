#!/bin/bash
# Clients: nbdfuse shows the disk as a file.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/drive/served.sh"
need nbdfuse fusermount3
# In many containers nothing can be mounted.
[ -w /dev/fuse ] || skip '/dev/fuse cannot be used here'

read_it () {
    mkdir "mnt.$server"
    nbdfuse -r "mnt.$server/disk" "$uri" 2> fuse.log &
    pid=$!
    on_exit "fusermount3 -u -z '$T/mnt.$server' 2>/dev/null"
    for ((i = 0; i < 2000; i++)); do
        [ ! -e "mnt.$server/disk" ] || break
        kill -0 $pid 2>/dev/null || { cat fuse.log; skip 'FUSE cannot mount here'; }
        sleep 0.05
    done
    [ "$(stat -c %s "mnt.$server/disk")" = 4194304 ] || fail 'another size'
    same expected.raw "mnt.$server/disk"
    # Pieces, not in order.
    for at in 4000000 12345 1; do
        cmp <(dd if="mnt.$server/disk" bs=1 skip=$at count=777 status=none) \
            <(dd if=expected.raw bs=1 skip=$at count=777 status=none) || fail "other bytes at $at"
    done
    fusermount3 -u "mnt.$server"
    wait $pid || fail "nbdfuse ended with status $?"
}
for_both read_it
