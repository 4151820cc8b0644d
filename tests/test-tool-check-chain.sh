#!/bin/bash
# vmdkdelta check --chain: all links, whether they fit, and what is lost as seen
# through the chain.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need tool mkimage

poke () { printf "$3" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none; }
# check STATUS ARGS...: the output is in out.
check () {
    local want=$1 status=0
    shift
    "$TOOL" check "$@" > out 2>&1 || status=$?
    [ $status -eq "$want" ] || { cat out; fail "status $status, expected $want: $*"; }
}
has () { grep -Eq -e "$1" out || { cat out; fail "no line matches: $1"; }; }

"$MKIMAGE" make kdmv base-s.vmdk --capacity=64K --grain=4K --fill=100 \
    --descriptor=base.vmdk --cid=11111111
"$MKIMAGE" make cowd mid-delta.vmdk --capacity=64K --fill=100 --descriptor=mid.vmdk \
    --cid=22222222 --parent-cid=11111111 --parent=base.vmdk
"$MKIMAGE" make cowd top-delta.vmdk --capacity=64K --fill=0 --descriptor=top.vmdk \
    --cid=33333333 --parent-cid=22222222 --parent=mid.vmdk
check 0 --chain top.vmdk
has 'chain of 3 links: clean'

# Damage in the base is hidden by mid, which holds everything.
cp base-s.vmdk good
gd=$(od -An -tu8 -j 56 -N 8 base-s.vmdk | tr -d ' ')
table=$(od -An -tu4 -j $((gd * 512)) -N 4 base-s.vmdk | tr -d ' ')
poke base-s.vmdk $((table * 512)) '\xff\xff\xff\x7f'
check 3 --chain top.vmdk
has '^  error: grain-outside-file'
has 'nothing of that is seen through the chain'

# Damage in mid is seen.
poke mid-delta.vmdk $((5 * 512)) '\xff\xff\xff\x7f'
check 3 --chain top.vmdk
has 'seen through the chain:$'
has '^    offset 0, length 512$'
"$TOOL" check top.vmdk

# A parent of other content.
cp good base-s.vmdk
poke mid-delta.vmdk $((5 * 512)) '\x00\x00\x00\x00'
sed -i 's/^CID=11111111/CID=44444444/' base.vmdk
check 3 --chain top.vmdk
has '^  error: parent-mismatch'
check 0 --chain --ignore-cid top.vmdk
has '^  warning: parent-mismatch'

# A parent that is not there: the file itself is checked.
rm base.vmdk
check 1 --chain top.vmdk
has '^top\.vmdk: clean'
has 'not checked: .*base\.vmdk'
