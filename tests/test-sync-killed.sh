#!/bin/bash
# sync, killed in the middle of a first copy: what was flushed by then is not written again, and
# the disk is right.  If the machine has got another snapshot meanwhile, that is written too.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need tool mkimage filter nbdcopy nbdkit:filter:delay nbdkit:filter:log perl

head -c 64M /dev/urandom > vm-flat.vmdk
printf '# Disk DescriptorFile\nversion=1\nCID=00000001\nparentCID=ffffffff\ncreateType="vmfs"\nRW 131072 VMFS "vm-flat.vmdk"\n' > vm.vmdk
delta () {
    "$MKIMAGE" make cowd "$1-delta.vmdk" --capacity=64M --grain=4K --fill=5 --descriptor="$1.vmdk" \
        --parent="$2" --parent-cid="$3" --cid="$4" --seed="$5"
}
delta d1 vm.vmdk 00000001 00000002 1
reached () { sed -n 's/^sync [a-z]* [a-z]* [0-9a-f]* \([0-9]*\) .*/\1/p' state; }

# kill_copy: a copy to "disk", killed when some of it was noted.
kill_copy () {
    local pid
    rm -f disk state log
    truncate -s 64M disk
    start --filter=delay file disk wdelay=20ms
    "$TOOL" sync --threads=1 --state=state d1.vmdk "$uri" > out 2> err &
    pid=$!
    until [ -e state ] && [ "$(reached)" -gt 0 ]; do
        kill -0 $pid || { cat out err; fail 'it came to its end'; }
        sleep 0.01
    done
    kill -KILL $pid
    wait $pid 2> /dev/null || :
    stop
    at=$(reached)
    cmp -n "$at" disk vm-flat.vmdk
    ! cmp -s disk vm-flat.vmdk || fail 'it was complete'
}
field () { perl -MJSON::PP -e 'local $/; print decode_json (<STDIN>)->{disks}[0]{$ARGV[0]}' "$1" < out; }

kill_copy
expect_fail 'half written.*sync again' "$TOOL" apply --state=state d1.vmdk -- [ nbdkit file disk ]
start --filter=log file disk logfile="$T/log"
"$TOOL" sync --json --state=state d1.vmdk "$uri" > out
stop
same disk vm-flat.vmdk
[ "$(field start)" = "$at" ] || fail "it began at $(field start), and $at was reached"
grep -oE ' (Write|Zero) .*offset=0x[0-9a-f]+' log | sed 's/.*0x//' > offsets
while read -r offset; do
    [ $((16#$offset)) -ge "$at" ] || fail "it wrote at $((16#$offset)) again, below $at"
done < offsets
[ -s offsets ] || fail 'it wrote nothing'

# Another snapshot meanwhile.
kill_copy
delta d2 d1.vmdk 00000002 00000003 2
start file disk
"$TOOL" sync --json --state=state d2.vmdk "$uri" > out
stop
[ "$(field start)" = 0 ] || fail 'another copy goes on where the old one was'
nbdkit_run file vm-flat.vmdk delta=d1.vmdk delta-follow=false --run 'nbdcopy "$uri" want'
same disk want
# Something else wrote to what was copied.
rm d2*
kill_copy
printf x | dd of=disk bs=1 conv=notrunc status=none
start file disk
expect_fail 'written to by something else' "$TOOL" sync --state=state d1.vmdk "$uri"
stop
