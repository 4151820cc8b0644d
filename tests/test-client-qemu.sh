#!/bin/bash
# Clients: QEMU's tools.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/drive/served.sh"
need qemu-img qemu-io qemu-nbd nbdcopy

read_it () {
    for to in raw qcow2 vmdk vdi vpc; do
        qemu-img convert -f raw -O $to "$uri" out.$to
        qemu-img compare -q -f raw -F $to expected.raw out.$to || fail "qemu-img convert to $to"
    done
    # As many requests at a time as it can.
    qemu-img convert -W -m 16 -f raw -O raw "$uri" out.raw
    same expected.raw out.raw
    qemu-img compare -q -f raw -F raw "$uri" expected.raw || fail 'qemu-img compare'
    expect_fail 'mismatch' qemu-img compare -f raw -F raw "$uri" base.raw
    qemu-img info -f raw "$uri" | grep -q '4 MiB (4194304 bytes)' || fail 'qemu-img info'
    # What is mapped as zeros is zeros, and the map has no gaps.
    qemu-img map -f raw --output=json "$uri" |
        sed -n 's/.*"start": \([0-9]*\), "length": \([0-9]*\),.*"zero": \([a-z]*\).*/\1 \2 \3/p' > map
    awk '$1 != at { exit 1 } { at += $2 } END { exit at != 4194304 }' map || fail 'qemu-img map: gaps'
    grep -q true map || fail 'qemu-img map: no zeros'
    while read -r start length zero; do
        [ "$zero" = false ] || cmp -n "$length" -i "$start:0" expected.raw /dev/zero || fail "qemu-img map: no zeros at $start"
    done < map
    # Odd places; qemu-io shows bytes in hexadecimal.
    for at in 0 513 1048575 4194000; do
        qemu-io -r -f raw -c "read -v $at 100" "$uri" | sed -n 's/^[0-9a-f]*: *\(.*\)  .*/\1/p' | tr -d ' \n' > shown
        od -An -v -tx1 -j $at -N 100 expected.raw | tr -d ' \n' > wanted
        # The part in ASCII follows two blanks.
        [ "$(head -c 200 shown)" = "$(cat wanted)" ] || fail "qemu-io: other bytes at $at"
    done
    expect_fail 'read-only|Permission|not permitted' qemu-io -f raw -c 'write 0 512' "$uri"
    # qemu-nbd as a client: what is there, and the same disk served again.
    qemu-nbd --list -k "$sock" | grep -q 'size: *4194304' || fail 'qemu-nbd --list'
    qemu-nbd -r -f raw -k "$T/again.$server" -t "$uri" &
    pid=$!
    await test -S "$T/again.$server"
    nbdcopy "nbd+unix:///?socket=$T/again.$server" again.raw
    kill $pid
    wait $pid || :
    same expected.raw again.raw
}
for_both read_it
