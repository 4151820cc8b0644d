#!/bin/bash
# streamOptimized files with something behind their end, or without their end: the footer is found,
# or the grains are read by their markers; what is not there is an error, never zeros.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need plugin tool mkimage nbdcopy nbdinfo

M=$((1024 * 1024))
make () { "$MKIMAGE" make stream good.vmdk --capacity=1M --fill=50 --raw=disk.raw --content=noise --footer --embedded "$@"; }
make
L=$(stat -c %s good.vmdk)
read_range () { "$builddir/tests/read-range" "$uri" "$@"; }
# whole [OPTION]: x.vmdk is all of the disk, and clean.
whole () {
    nbdkit "$PLUGIN" x.vmdk ${1:+"$1"} --run "nbdcopy \"\$uri\" '$T/out.raw'"
    same disk.raw out.raw
    "$TOOL" check ${1:+"--$1"} x.vmdk
}

# A tail: zeros as of a block device; another descriptor; text; a cut stream; more than is looked at.
{ cat good.vmdk; printf '# Disk DescriptorFile\nversion=1\n' | dd bs=512 conv=sync status=none; } > x.vmdk; whole
cp good.vmdk x.vmdk; truncate -s +1M x.vmdk; whole
cp good.vmdk x.vmdk; truncate -s $((L + 60 * M)) x.vmdk; whole
{ cat good.vmdk; head -c 3000 /dev/urandom; } > x.vmdk; whole
{ cat good.vmdk; head -c $((L / 2 / 512 * 512)) good.vmdk; } > x.vmdk; whole
cp good.vmdk x.vmdk; truncate -s $((L + 65 * M)) x.vmdk
expect_fail 'no valid footer.*tables=markers' nbdkit "$PLUGIN" x.vmdk --run true
whole tables=markers
# Another stream behind it has another directory: its footer is not the one.
mv good.vmdk first.vmdk; mv disk.raw first.raw
make --seed=7 --fill=80
cat first.vmdk good.vmdk > x.vmdk
nbdkit "$PLUGIN" x.vmdk --run "nbdcopy \"\$uri\" '$T/out.raw'"
same first.raw out.raw
mv first.vmdk good.vmdk; mv first.raw disk.raw

# Without the end-of-stream marker; without the footer; only with the marker of the directory.
head -c $((L - 512)) good.vmdk > x.vmdk; whole
for cut in 1024 1536 2048; do
    head -c $((L - cut)) good.vmdk > x.vmdk
    expect_fail 'no valid footer.*--tables=markers' "$TOOL" check x.vmdk
    whole tables=markers
done

# Half of a download is half of the disk; the rest is an error, and info tells the size.
for cut in 65536 70000 $((L / 3)) $((L / 2)) $((L * 3 / 4)) $((L - 20000)); do
    head -c "$cut" good.vmdk > x.vmdk
    expect_fail 'no valid footer' nbdkit "$PLUGIN" x.vmdk --run true
    status=0; "$TOOL" info x.vmdk > out || status=$?
    [ $status = 1 ] || fail "info: status $status"
    grep -q 'capacity  *1 MiB (1048576 bytes)' out || fail "$(cat out)"
    start "$PLUGIN" x.vmdk tables=markers 2> log
    lost=$(sed -n 's/.*known up to byte \([0-9]*\) of 1048576.*/\1/p' log)
    [ "$lost" ] || fail "no warning: $(cat log)"
    if [ "$cut" = 65536 ]; then [ "$lost" = 0 ] || fail "$lost"; fi
    # The last grain that is known may be cut.
    sound=$((lost > 65536 ? lost - 65536 : 0))
    if [ "$cut" -gt $((L / 2)) ]; then [ $sound -ge $((M / 4)) ] || fail "of $cut bytes only $sound"; fi
    read_range 0 $sound > have
    head -c $sound disk.raw | same - have
    if [ "$lost" != $M ]; then expect_fail 'Input/output error' read_range "$lost" 512; fi
    expect_fail 'Input/output error' read_range $((M - 512)) 512
    nbdinfo --map "$uri" | awk -v lost="$lost" '$1 + $2 > lost && /zero|hole/ { exit 1 }' || fail "$(nbdinfo --map "$uri")"
    stop
    status=0; "$TOOL" check --tables=markers x.vmdk > out || status=$?
    [ $status = 3 ] || fail "check: status $status"
    grep -q 'grain-truncated' out || fail "$(cat out)"
    before=$(sha256sum x.vmdk)
    expect_fail . "$TOOL" compact --tables=markers x.vmdk
    expect_fail . "$TOOL" create --tables=markers --to=x.vmdk new.vmdk
    expect_fail . nbdkit "$PLUGIN" x.vmdk tables=markers write=true --run true
    [ "$before" = "$(sha256sum x.vmdk)" ] && [ ! -e new.vmdk ] || fail 'something was written'
done
# A hole in a download is no end of the stream.
cp good.vmdk x.vmdk
dd if=/dev/zero of=x.vmdk bs=512 seek=$((L / 2 / 512)) count=$((L / 512)) conv=notrunc status=none
truncate -s "$L" x.vmdk
start "$PLUGIN" x.vmdk tables=markers 2> log
expect_fail 'Input/output error' read_range $((M - 512)) 512
stop

# Grains that are not in order: those that are there are read, and nothing is known of others.
# (Grains of noise take 129 sectors each: swap the first two.)
cp good.vmdk x.vmdk
dd if=good.vmdk of=x.vmdk bs=512 skip=257 seek=128 count=129 conv=notrunc status=none
dd if=good.vmdk of=x.vmdk bs=512 skip=128 seek=257 count=129 conv=notrunc status=none
mv x.vmdk good.vmdk
cp good.vmdk x.vmdk; whole tables=markers
head -c $((L / 2)) good.vmdk > x.vmdk
start "$PLUGIN" x.vmdk tables=markers 2> log
grep -q 'known up to byte 0 of' log || fail "$(cat log)"
good=0 bad=0
for ((i = 0; i < 16; i++)); do
    if read_range $((i * 65536)) 65536 > have; then
        dd if=disk.raw bs=65536 skip=$i count=1 status=none | same - have
        good=$((good + 1))
    else
        bad=$((bad + 1))
    fi
done
[ $good -ge 2 ] || fail "only $good grains"
[ $bad -ge 8 ] || fail "$good grains of half a stream"
stop
