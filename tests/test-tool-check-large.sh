#!/bin/bash
# Huge disks: a check costs what is stored, in little memory.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need tool mkimage

# Sanitizers reserve address space.
limit=400000
[ -z "${SANITIZE:-}" ] || limit=unlimited
# Seconds of the processor: a busy machine changes nothing in those.
run () { (ulimit -v $limit -t 60; "$TOOL" check "$@"); }

# Its areas lie hundreds of GiB apart: several windows of the file.
"$MKIMAGE" make sesparse se.vmdk --capacity=62T --count=1000
run se.vmdk > out || { cat out; fail '62 TB'; }
cat out
grep -q '^se\.vmdk: clean (SEsparse; [0-9]* grains' out

"$MKIMAGE" make cowd c.vmdk --capacity=2047G --count=1000
run c.vmdk
"$MKIMAGE" make kdmv k.vmdk --capacity=8T --count=1000
run k.vmdk

# Two directory entries with one table, far from each other.
gd=$(od -An -tu8 -j 128 -N 8 se.vmdk | tr -d ' ')
last=$((62 * 65536 - 1))
dd if=se.vmdk of=se.vmdk bs=8 skip=$((gd * 64)) seek=$((gd * 64 + last)) count=1 conv=notrunc status=none
expect_fail "grain table $last shares sector [0-9]+ with grain table 0" run se.vmdk
