#!/bin/bash
# Table entries that point out of the file or into its metadata: EIO for these alone.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/drive/fixture.sh"
need filter mkimage nbdinfo

base
cp base.raw expected.raw

# damaged GRAIN-SIZE GRAIN REGEX: reading this grain fails, all others are right.
damaged () {
    local size=$1 grain=$2 regex=$3 at
    serve file base.raw delta=x.vmdk 2>log
    expect_fail 'Input/output error' read_range $((grain * size)) $size
    expect_fail 'Input/output error' read_range $((grain * size + size - 1)) 2
    grep -Eq "$regex" log || fail "the log: $(cat log)"
    for at in 0 $(((grain - 1) * size)) $(((grain + 1) * size)) $((4194304 - size)); do
        read_range $at $size > piece
        cmp -i $at:0 -n $size expected.raw piece || fail "wrong bytes at $at"
    done
    # The map does not call it zeros.
    nbdinfo --map "$uri" | awk -v at=$((grain * size)) '$1 <= at && at < $1 + $2 { exit $3 != 0 }' ||
        fail 'damage is called a hole'
    stop
}

delta x kdmv --fill=100 --grain=64K
overlay expected.raw x.raw
dir=$(($(peek32 x-kdmv.vmdk 56) * 512))
table=$(($(peek32 x-kdmv.vmdk $dir) * 512))
cp x-kdmv.vmdk copy
for entry in '00 00 00 70' 'ff ff ff ff' '00 ff ff 00'; do
    cp copy x-kdmv.vmdk
    # shellcheck disable=SC2086  # bytes
    poke x-kdmv.vmdk $((table + 5 * 4)) $entry
    damaged 65536 5 'x-kdmv\.vmdk: grain 5 is at sector [0-9]+.*the file ends at|x-kdmv\.vmdk: grain 5'
done
cp copy x-kdmv.vmdk
poke x-kdmv.vmdk $((table + 5 * 4)) 02 00 00 00
damaged 65536 5 'grain 5 points into the metadata \(sector 2;'
# The zero entry without the flag that allows it.
cp copy x-kdmv.vmdk
poke x-kdmv.vmdk $((table + 5 * 4)) 01 00 00 00
damaged 65536 5 'grain 5 has entry 1 .*flag .* is not set'

rm x*.vmdk
cp base.raw expected.raw
delta x cowd --fill=100
overlay expected.raw x.raw
table=$(($(peek32 x-cowd.vmdk $(($(peek32 x-cowd.vmdk 20) * 512))) * 512))
cp x-cowd.vmdk copy
for entry in '00 00 00 70' 'ff ff ff ff' '02 00 00 00'; do
    cp copy x-cowd.vmdk
    # shellcheck disable=SC2086
    poke x-cowd.vmdk $((table + 77 * 4)) $entry
    damaged 512 77 'x-cowd\.vmdk: grain 77'
done

rm x*.vmdk
cp base.raw expected.raw
delta x sesparse --fill=100
overlay expected.raw x.raw
table=$(($(peek32 x-sesparse.vmdk 144) * 512))
cp x-sesparse.vmdk copy
for entry in 'ff ff ff ff ff ff ff 3f' '00 00 00 00 00 00 00 40' '05 00 00 00 00 70 00 30'; do
    cp copy x-sesparse.vmdk
    # shellcheck disable=SC2086
    poke x-sesparse.vmdk $((table + 9 * 8)) $entry
    damaged 4096 9 'x-sesparse\.vmdk: grain 9'
done

# A directory that points out of the file: nothing of this table can be read.
cp copy x-sesparse.vmdk
gd=$(($(peek32 x-sesparse.vmdk 128) * 512))
poke x-sesparse.vmdk "$gd" ff ff ff ff 00 00 00 10
serve file base.raw delta=x.vmdk 2>log
expect_fail 'Input/output error' read_range 0 512
grep -Eq 'x-sesparse\.vmdk: directory entry 0|table' log || fail "the log: $(cat log)"
