#!/bin/bash
# File names are not shown as they are where they hold control characters: not in what
# the server says of an export that cannot be opened, at the start and later.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/test-chain-disks.sh"
need nbdinfo

mkdir vm
printf '# Disk DescriptorFile\nCID=4\nparentCID=9\nRW 1 ZERO\n' > $'vm/e\e[3Jvil.vmdk'
start "$PLUGIN" dir=vm 2> server.log
expect_fail . nbdinfo --size "nbd+unix:///e%1b%5b3Jvil.vmdk?socket=$sock"
stop
grep -Fq 'e\x1b[3Jvil.vmdk cannot be opened' server.log || fail "not said: $(cat -v server.log)"
if grep -aq $'\e' server.log; then fail "a control character is in a message: $(cat -v server.log)"; fi
