#!/bin/bash
# Clients choose by the exact name of an export; paths, parts of names and other files
# are no exports, and the message shows the name safely.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/test-chain-disks.sh"
need nbdinfo

mkdir vm
base vm/disk.vmdk 1 A
child vm/snap.vmdk 2 1 "$(hint disk.vmdk)"
base outside.vmdk 1 B

# open_as NAME: the size that a client gets who asks for it.
open_as () {
    nbdinfo --size "nbd+unix:///$(printf %s "$1" | od -An -v -tx1 | tr -d '\n' | tr ' ' %)?socket=$sock"
}

for arg in file=vm/snap.vmdk dir=vm; do
    start "$PLUGIN" $arg 2> "$T/server.log"
    [ "$(open_as disk.vmdk)" = 65536 ] || fail "disk.vmdk"
    for name in ../outside.vmdk "$T/outside.vmdk" "$T/vm/disk.vmdk" ./disk.vmdk vm/disk.vmdk disk disk.vmd \
                DISK.VMDK 'disk.vmdk ' disk-flat.vmdk snap-delta.vmdk /etc/passwd . .. / 'x*'; do
        expect_fail '.' open_as "$name"
        grep -Fq "error: there is no export '$name'; nbdinfo --list shows those that there are" "$T/server.log" ||
            fail "no message for $name: $(cat "$T/server.log")"
    done
    expect_fail '.' open_as $'a\e[2Jb\nc'
    grep -Fq "there is no export 'a\\x1b[2Jb\\x0ac'" "$T/server.log" || fail "$(cat "$T/server.log")"
    expect_fail '.' open_as "$(head -c 4000 /dev/zero | tr '\0' x)"
    [ "$(open_as snap.vmdk)" = 65536 ] || fail "the server is gone"
    stop
done
