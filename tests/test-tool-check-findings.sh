#!/bin/bash
# vmdkdelta check: the names and severities of findings, as its manual page has them, for
# damage of each kind that a few bytes can make.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need tool mkimage

poke () { printf "$3" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none; }
u64 () { od -An -tu8 -j "$2" -N 8 "$1" | tr -d ' '; }
u32 () { od -An -tu4 -j "$2" -N 4 "$1" | tr -d ' '; }
# finds FILE "SEVERITY: NAME"... [-- ARGS...]: these, and no others.
finds () {
    local file=$1 status=0
    shift
    : > want
    while [ $# -gt 0 ] && [ "$1" != -- ]; do echo "$1" >> want; shift; done
    "$TOOL" check --verbose "${@:2}" "$file" > out 2>&1 || status=$?
    sed -n 's/^ *\(error\|warning\|info\): \([a-z0-9-]*\) .*/\1: \2/p' out | sort -u > have
    sort -u want | diff - have || { cat out; fail "$file: not these findings"; }
    if grep -q '^error' want; then want=3; else want=0; fi
    [ $status = $want ] || { cat out; fail "$file: status $status, expected $want"; }
}
make () { "$MKIMAGE" make "$@"; }

# ---- What the descriptor says ------------------------------------------------------

# The header of a COWD has more than the line of its extent.
make cowd c-delta.vmdk --capacity=64K --fill=0 --descriptor=c.vmdk --parent=b.vmdk --parent-cid=1 --cid=2
finds c.vmdk
sed -i 's/^RW 128 /RW 64 /' c.vmdk
finds c.vmdk 'warning: capacity-differs'
grep -q 'the header has 128 sectors, the descriptor uses 64' out || { cat out; fail 'the numbers'; }
# A hosted disk is rounded up to a grain: less than one grain more is no finding, one is.
make kdmv k-s001.vmdk --capacity=64K --grain=16K --fill=0 --descriptor=k.vmdk --cid=2
sed 's/^RW 128 /RW 97 /' k.vmdk > k1.vmdk
finds k1.vmdk
sed 's/^RW 128 /RW 96 /' k.vmdk > k2.vmdk
finds k2.vmdk 'warning: capacity-differs'  # (and nothing is in the last grain)

# A parent of another size.
make kdmv b-s001.vmdk --capacity=128K --fill=50 --descriptor=b.vmdk --cid=1
make cowd d-delta.vmdk --capacity=64K --fill=50 --descriptor=d.vmdk --parent=b.vmdk --parent-cid=1 --cid=3
finds d.vmdk 'warning: parent-differs' -- --chain
make kdmv b-s001.vmdk --capacity=64K --fill=50 --descriptor=b.vmdk --cid=1
finds d.vmdk -- --chain
sed -i 's/^CID=.*/CID=77777777/' b.vmdk
finds d.vmdk 'error: parent-mismatch' -- --chain
finds d.vmdk 'warning: parent-mismatch' -- --chain --ignore-cid

# ---- Entries -------------------------------------------------------------------------

# One grain table of COWD: at the sector that the directory's first entry has.
make cowd good.cowd --capacity=64K --fill=100
gt=$(($(u32 good.cowd $((4 * 512))) * 512))
first=$(u32 good.cowd $gt)
entry () { cp good.cowd x; poke x $((gt + $1)) "$2"; }
entry 0 '\xff\xff\xff\x7f'
finds x 'error: grain-outside-file'
entry 0 '\x01\x00\x00\x00'
finds x 'warning: cowd-entry-1'
entry 0 '\x00\x00\x00\x00'
finds x
entry 0 '\x02\x00\x00\x00'
finds x 'error: grain-in-metadata'
entry 4 "$(printf '\\x%02x\\x%02x\\x%02x\\x%02x' $((first & 255)) $((first >> 8 & 255)) $((first >> 16 & 255)) $((first >> 24)))"
finds x 'error: grain-overlap'
# Behind the end of the disk: the table is for 2 MiB.
entry $((4 * 200)) '\x05\x00\x00\x00'
finds x 'warning: grain-beyond-capacity'
# The directory.
directory () { cp good.cowd x; poke x $((4 * 512 + $1)) "$2"; }
directory 0 '\xff\xff\xff\x7f'
finds x 'error: table-outside-file'
directory 0 '\x01\x00\x00\x00'
finds x 'error: table-entry-bad'
# Cut: the last sector is not there any more.
head -c $(($(stat -c %s good.cowd) - 100)) good.cowd > x
finds x 'error: grain-outside-file' 'warning: free-sector-wrong'

# The two tables of a hosted disk, and its mark of being open.
make kdmv good.kdmv --capacity=64K --grain=4K --fill=100 --embedded
table=$(($(u32 good.kdmv $(($(u64 good.kdmv 48) * 512))) * 512))
cp good.kdmv x
poke x $table '\x00\x00\x00\x00'
finds x 'warning: redundant-differs'
head -c $(($(stat -c %s good.kdmv) - 1024)) good.kdmv > x
finds x 'error: grain-truncated'
cp good.kdmv x
poke x 72 '\x01'
finds x 'warning: unclean'
