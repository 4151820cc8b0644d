#!/bin/bash
# apply: the target can be served by a command that is started for it, as nbdcopy takes one.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/drive/fixture.sh"
need tool mkimage qemu-img qemu-nbd

simple
qemu-img convert -f raw -O qcow2 base.raw vm.qcow2
"$TOOL" apply --verify x.vmdk -- [ qemu-nbd -f qcow2 vm.qcow2 ] > out
grep -q 'target *qemu-nbd' out || { cat out; fail 'what is told of the target'; }
qemu-img convert -f qcow2 -O raw vm.qcow2 out.raw
same expected.raw out.raw
qemu-img check vm.qcow2 > check
! pgrep -f "$T/vm.qcow2" || fail 'the server is still there'

# With an undo file, and back.
qemu-img convert -f raw -O qcow2 base.raw vm.qcow2
"$TOOL" apply --quiet --undo=back.vmdk x.vmdk -- [ qemu-nbd -f qcow2 vm.qcow2 ]
"$TOOL" apply --quiet back.vmdk -- [ qemu-nbd -f qcow2 vm.qcow2 ]
qemu-img convert -f qcow2 -O raw vm.qcow2 out.raw
same base.raw out.raw

expect_fail 'no-such-command' "$TOOL" apply x.vmdk -- [ no-such-command ]
expect_fail 'read-only' "$TOOL" apply x.vmdk -- [ qemu-nbd -r -f raw base.raw ]
expect_fail 'at least one DELTA' "$TOOL" apply -- [ qemu-nbd -f raw base.raw ]
expect_fail . "$TOOL" apply x.vmdk -- [ ]
expect_fail 'local file or device, or by NBD' "$TOOL" apply x.vmdk ssh://h/x.raw
