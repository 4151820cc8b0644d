#!/bin/bash
# compare and create: a disk can be served by a command that is started for it.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/drive/fixture.sh"
need tool mkimage qemu-img qemu-nbd

simple
qemu-img convert -f raw -O qcow2 base.raw base.qcow2
qemu-img convert -f raw -O qcow2 expected.raw new.qcow2
serve=(qemu-nbd -r -f qcow2)

"$TOOL" compare -- base.raw [ "${serve[@]}" base.qcow2 ] > out
grep -q '^equal, 4 MiB' out || fail 'one command'
"$TOOL" compare -- [ "${serve[@]}" base.qcow2 ] [ qemu-nbd -r -f raw base.raw ] > out
grep -q '^equal, 4 MiB' out || fail 'two commands'
expect_fail '^different, first at byte' "$TOOL" compare -- [ "${serve[@]}" base.qcow2 ] expected.raw
expect_fail 'SOURCE and TARGET' "$TOOL" compare -- base.raw [ ]
expect_fail 'SOURCE and TARGET' "$TOOL" compare -- base.raw [ qemu-nbd
expect_fail 'SOURCE and TARGET' "$TOOL" compare -- base.raw [ "${serve[@]}" base.qcow2 ] expected.raw
expect_fail 'no-such-command' "$TOOL" compare -- base.raw [ no-such-command ]

a=('[' "${serve[@]}" base.qcow2 ']') b=('[' "${serve[@]}" new.qcow2 ']')
for options in --from=base.raw --to=expected.raw ''; do
    case $options in
        --from=*) sources=("${b[@]}") ;;
        --to=*) sources=("${a[@]}") ;;
        *) sources=("${a[@]}" "${b[@]}") ;;
    esac
    # shellcheck disable=SC2086  # none is none
    "$TOOL" create $options --force -- d.vmdk "${sources[@]}" > out
    grep -q 'grains of 64 KiB differ' out || fail "nothing is told: $options"
    ! grep -q 'qemu-nbd' out || fail 'advice with a command that has ended'
    cp base.raw target.raw
    "$TOOL" apply --quiet d.vmdk target.raw
    same expected.raw target.raw
    rm target.raw.vmdkdelta-state
done
expect_fail 'both --from and --to are needed' "$TOOL" create --from=base.raw d.vmdk
expect_fail 'more than one new delta' "$TOOL" create --from=base.raw --to=expected.raw -- e.vmdk [ qemu-nbd base.raw ]
expect_fail 'empty, or has no \]' "$TOOL" create --from=base.raw -- e.vmdk [ qemu-nbd base.raw
expect_fail 'is written on this machine' "$TOOL" create --from=base.raw --to=expected.raw ssh://h/e.vmdk
! pgrep -f "$T/.*qcow2" || fail 'a server is still there'
