#!/bin/bash
# What info says of images made by qemu-img, compared with qemu-img info and the
# headers, and with the samples.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need tool mkimage qemu-img qemu-io xz

# value KEY: from the outermost object in o.json (four blanks in front).
value () { sed -n 's/^    "'"$1"'": "\{0,1\}\([^"]*[^",]\)"\{0,1\},\{0,1\}$/\1/p' o.json; }
is () { [ "$(value "$1")" = "$2" ] || { cat o.json; fail "$1 is '$(value "$1")', expected '$2'"; }; }
info () { "$TOOL" info --json "$@" > o.json; }
# Of the image itself or of its format; QEMU 8.1 and later tell of its "children" too.
qemu () { sed -nE 's/^ {4}( {8})?"'"$1"'": "?([^",]*).*/\2/p' q.json | head -n 1; }
adds_up () {
    [ $(($(value data) + $(value zero) + $(value unallocated) + $(value damaged))) = "$(value virtual-size)" ] ||
        fail 'the parts do not add up'
}

# ---- qemu-img's own formats ------------------------------------------------------

for format in monolithicSparse monolithicFlat twoGbMaxExtentSparse twoGbMaxExtentFlat streamOptimized; do
    mkdir $format
    qemu-img create -q -f raw x.raw 5M
    qemu-io -f raw -c 'write -P 5 1M 1M' x.raw > log
    qemu-img convert -O vmdk -o subformat=$format,adapter_type=lsilogic x.raw $format/x.vmdk
    qemu-img info --output=json $format/x.vmdk > q.json
    info $format/x.vmdk
    is virtual-size "$(qemu virtual-size)"
    is create-type "$(qemu create-type)"
    is cid "$(printf %08x "$(qemu cid)")"
    is parent-cid "$(printf %08x "$(qemu parent-cid)")"
    is adapter-type lsilogic
    is role base
    is state ok
    adds_up
    # qemu-img's size is that of all files, as they lie on the disk.
    is disk-usage "$(qemu actual-size)"
    case $format in
        *Flat) is format FLAT; is data 5242880; is grain-size 0 ;;
        *) is format KDMV; is data 1048576; is grain-size 65536 ;;
    esac
    case $format in
        stream*) is compressed 1048576 ;;
        *) is compressed 0 ;;
    esac
done

# ---- A delta, its parent, and what may be wrong with it ----------------------------

cp monolithicSparse/x.vmdk base.vmdk
qemu-img create -q -f vmdk -o zeroed_grain=on -b base.vmdk -F vmdk child.vmdk
qemu-io -f vmdk -c 'write -P 1 0 128K' -c 'write -z 1M 64K' child.vmdk > log
info child.vmdk
is role delta
is data 131072
is zero 65536
is unallocated $((5242880 - 131072 - 65536))
qemu-img info --output=json child.vmdk > q.json
is parent-cid "$(printf %08x "$(qemu parent-cid)")"
grep -q '"state": "found"' o.json
grep -q '"hint": "base.vmdk"' o.json
grep -q '"file": "[^"]*/base.vmdk"' o.json
"$TOOL" info --chain child.vmdk > out
grep -q '^  total  *[0-9.]* [KM]iB in 2 files' out || fail "$(cat out)"
"$TOOL" info child.vmdk > out
grep -q 'found, its CID fits' out
grep -q '^    nbdkit vmdk file=child.vmdk$' out
if [ "${PLUGIN:-}" ]; then  # the command that it gives works
    nbdkit "$PLUGIN" file=child.vmdk --run 'nbdinfo --size "$uri"' > size
    [ "$(cat size)" = 5242880 ]
fi

"$TOOL" info --chain child.vmdk > out
awk 'NR == 2 && $1 != "base.vmdk" || NR == 3 && $1 != "child.vmdk" { exit 1 }' out
info --chain child.vmdk
grep -q '"chain": \[' o.json

mkdir moved
cp child.vmdk moved/
info moved/child.vmdk              # the parent is missing: told, and no error
grep -q '"state": "missing"' o.json
grep -q '"reason": ".*base.vmdk' o.json
"$TOOL" info moved/child.vmdk > out
grep -q 'nbdkit --filter=vmdkdelta file BASE delta=moved/child.vmdk' out
expect_fail 'base missing' "$TOOL" info --chain moved/child.vmdk
"$TOOL" info --chain --parent-path=. moved/child.vmdk > out
grep -q '^base.vmdk' out
"$TOOL" info --chain --parent=base.vmdk moved/child.vmdk > out
grep -q '^base.vmdk' out

qemu-io -f vmdk -c 'write -P 9 4M 4K' base.vmdk > log   # a new CID
info child.vmdk
grep -q '"state": "misfit"' o.json
grep -q 'has content [0-9a-f]* (its CID)' o.json
expect_fail 'was made on content' "$TOOL" info --chain child.vmdk
"$TOOL" info --chain --ignore-cid child.vmdk > out 2> err
grep -q '^vmdkdelta: warning: ' err

# Two snapshots, and no descriptor of their base: lay both over a raw one.  If the older
# snapshot is missing, no base can take its place.
mkdir two
(cd two && for n in 1 2; do
    "$MKIMAGE" make cowd disk-00000$n-delta.vmdk --capacity=3M --fill=25 --layer=$n --descriptor=disk-00000$n.vmdk \
        --parent="$([ $n = 2 ] && echo disk-000001.vmdk || echo disk.vmdk)" --cid=0000000$n --parent-cid=0000000$((n - 1))
done)
"$TOOL" info two/disk-000002.vmdk > out
grep -q 'vmdkdelta info --chain two/disk-000002.vmdk' out
expect_fail 'base missing .*--parent-path' "$TOOL" info --chain two/disk-000002.vmdk
grep -q '^    nbdkit --filter=vmdkdelta file BASE delta=two/disk-000002.vmdk' output
truncate -s 3M base.raw
"$TOOL" apply --dry-run two/disk-000002.vmdk base.raw > out
# The same if of the base there is the descriptor, without its data.
descriptor='# Disk DescriptorFile\nversion=1\nCID=00000000\nparentCID=ffffffff\ncreateType="vmfs"\nRW 6144 VMFS "gone.vmdk"\n'
printf "$descriptor" > two/disk.vmdk
for chain in '' --chain; do
    "$TOOL" info $chain two/disk-000002.vmdk > out || [ "$chain" ]
    grep -q '^    nbdkit --filter=vmdkdelta file BASE delta=two/disk-000002.vmdk' out
    ! grep 'nbdkit vmdk' out || fail 'it names a command that fails'
done
"$TOOL" apply --dry-run two/disk-000002.vmdk base.raw > out
mv two/disk-000001-delta.vmdk .
"$TOOL" info two/disk-000002.vmdk > out
grep -q 'vmdkdelta info --chain two/disk-000002.vmdk' out
expect_fail 'copy the missing file' "$TOOL" info --chain two/disk-000002.vmdk
rm two/disk.vmdk two/disk-000001.vmdk
"$TOOL" info two/disk-000002.vmdk > out
grep -q '^Next: copy the missing snapshot' out
! grep BASE out || fail 'it names a command that is refused'
expect_fail 'is a snapshot too' "$TOOL" apply --dry-run two/disk-000002.vmdk base.raw

# ---- Bare extents, missing extents --------------------------------------------------

"$MKIMAGE" make cowd x-delta.vmdk --capacity=3M --fill=25 --descriptor=x.vmdk --parent=y.vmdk \
    --parent-cid=12345678 --cid=abcdef01
info x-delta.vmdk
is role bare
is format COWD
is capacity ''
is virtual-size 3145728
is grain-size 512
data=$(value data)
"$TOOL" info x-delta.vmdk > out
grep -q '^    vmdkdelta info x.vmdk$' out
if grep BASE out; then fail 'BASE, though the descriptor is there'; fi
mv x.vmdk lost
"$TOOL" info x-delta.vmdk > out
grep -q 'delta=x-delta.vmdk' out
grep -q '^    vmdkdelta apply x-delta.vmdk BASE' out
mv lost x.vmdk
info x.vmdk
is data "$data"
is cid abcdef01
is parent-cid 12345678

mv x-delta.vmdk gone
"$TOOL" info --json x.vmdk > o.json && fail 'status 0 without its extent'
is state incomplete
is cid abcdef01
is data null
grep -q '"reason": ".*x-delta.vmdk' o.json
expect_fail 'x-delta.vmdk.*No such file' "$TOOL" info x.vmdk
grep -q 'abcdef01' output

# An extent that leads away is not opened.
sed 's,x-delta.vmdk,/etc/passwd,' x.vmdk > evil.vmdk
expect_fail 'evil.vmdk.*/etc/passwd.*outside' "$TOOL" info evil.vmdk

# A truncated delta: damage, and the next step.
truncate -s -700 gone
mv gone x-delta.vmdk
"$TOOL" info x.vmdk > out 2> err || :
grep -Eq 'damaged|truncated' out err

# ---- The samples --------------------------------------------------------------------

n=0
for archive in "$top_srcdir"/tests/data/*.tar.xz; do
    tar -xf "$archive"
    name=${archive##*/} name=${name%.tar.xz}
    for file in "$name"/*.vmdk; do
        if info "$file" 2> err; then
            adds_up
            n=$((n + 1))
        else
            [ $? = 1 ] && [ -s err ] || fail "$file"
        fi
    done
done
[ $n -gt 15 ] || fail "only $n images"
info found-esxi-sesparse/vm-000001.vmdk
is format SEsparse
is data 16777216
"$TOOL" info vb-vmdk-2600g-1/diff1.vmdk > out 2>&1
grep -q 'parent UUID' out
grep -q 'base.vmdk, found' out
