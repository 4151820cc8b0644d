#!/bin/bash
# Large disks and many parts: quick, and in little memory.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need tool mkimage

limit=20 memory=$((64 << 10))   # seconds of the processor; KiB
if [ "${SANITIZE:-}" ]; then limit=120 memory=unlimited; fi

# A nearly empty disk of 62 TiB.
"$MKIMAGE" make sesparse big-sesparse.vmdk --capacity=62T --count=2000 --parent=base.vmdk --parent-cid=1 \
    --descriptor=big.vmdk
(ulimit -v $memory -t $limit; "$TOOL" map --no-parents --json big.vmdk) > o.json
(ulimit -t $limit; "$TOOL" info --json big.vmdk) > info.json
tail -n 3 o.json | grep -q '"kind": "base"'
sum=$(sed -n 's/.*"length": \([0-9]*\),.*"kind": "data".*/\1/p' o.json | awk '{ n += $1 } END { printf "%.0f", n }')
grep -q "\"data\": $sum," info.json || fail "map and info differ: $sum"
"$TOOL" map --no-parents --picture big.vmdk > picture
grep -q ' 62 TiB' picture
grep -q '^    62 TiB' picture && fail 'a row behind the end'

# Half a million parts.
"$MKIMAGE" make cowd many-delta.vmdk --capacity=512M --runs=1 --fill=50 --scatter \
    --descriptor=many.vmdk --parent=base.vmdk --parent-cid=1
(ulimit -v $memory; "$TOOL" map --no-parents --json many.vmdk) > o.json
n=$(grep -c start o.json)
[ "$n" -gt 300000 ] || fail "only $n parts"
(ulimit -v $memory; "$TOOL" map --no-parents --picture=p.svg many.vmdk)
[ "$(stat -c %s p.svg)" -lt 3000000 ] || fail 'a picture that large'
