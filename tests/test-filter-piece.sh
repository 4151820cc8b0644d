#!/bin/bash
# One piece of a split disk is not laid over the start of its base, nor written there; info
# names the descriptor, and no command that would do that.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need filter tool qemu-img qemu-io nbdinfo

size=$((2200 << 20))
truncate -s $size base.img
sum=$(head -c 64K base.img | sha256sum)
qemu-img create -q -f vmdk -o subformat=twoGbMaxExtentSparse x.vmdk $size
qemu-io -f vmdk -c 'write -q -P 1 2150M 64k' x.vmdk
[ -s x-s002.vmdk ]

for piece in x-s001.vmdk x-s002.vmdk; do
    if [ $piece = x-s001.vmdk ]; then truncate -s 3G other.img; else ln -sf base.img other.img; fi
    expect_fail "$piece describes [0-9]* bytes and the base has [0-9]*: it is probably one piece" \
        nbdkit_run file other.img delta=$piece --run 'nbdinfo "$uri"'
    expect_fail "$piece describes .*nothing was written" "$TOOL" apply $piece other.img
    "$TOOL" info $piece > out
    grep -q '^    vmdkdelta info x.vmdk$' out || { cat out; fail 'the descriptor is not named'; }
    rm other.img
done
[ "$(head -c 64K base.img | sha256sum)" = "$sum" ]
mv x.vmdk lost
"$TOOL" info x-s002.vmdk > out
! grep -E 'apply|delta=' out || fail 'it names a command that would write to a wrong place'

# A base that is hardly larger (copies can be rounded up): taken.
truncate -s $(($("$TOOL" info --json x-s001.vmdk | sed -n 's/^    "virtual-size": \([0-9]*\),$/\1/p') + (1 << 20))) near.img
"$TOOL" apply --dry-run x-s001.vmdk near.img
