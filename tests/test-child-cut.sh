#!/bin/bash
# No child is made of a disk that is not whole: a child reads nothing of it, and what is
# missing would be found when a machine runs on it.  Other damage is told.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need tool plugin filter mkimage qemu-img qemu-io nbdkit:plugin:null

# make NAME CREATETYPE [SIZE]: a disk, 8 MiB, and its sound twin.
make () {
    mkdir "$1" "$1-whole"
    qemu-img create -q -f vmdk -o subformat="$2" "$1/disk.vmdk" "${3:-8M}"
    qemu-io -f vmdk -c 'write -q -P 1 0 3M' "$1/disk.vmdk" > /dev/null
    cp -r --sparse=always "$1/." "$1-whole"
}
make kdmv monolithicSparse; truncate -s -64K kdmv/disk.vmdk
make split twoGbMaxExtentSparse; truncate -s -512 split/disk-s001.vmdk
make flat monolithicFlat; truncate -s 7M flat/disk-flat.vmdk
make lost twoGbMaxExtentFlat 3G; rm lost/disk-f002.vmdk
mkdir vdi vdi-whole
qemu-img convert -O vdi kdmv-whole/disk.vmdk vdi/disk.vdi
cp vdi/disk.vdi vdi-whole
truncate -s -4096 vdi/disk.vdi
# A table past the end.
make table monolithicSparse
gd=$(($(od -An -tu4 -j56 -N4 table/disk.vmdk) * 512))
printf '\377\377\377\0' | dd of=table/disk.vmdk bs=1 seek=$gd conv=notrunc status=none
# A parent further down.
make older-whole monolithicSparse; rm -r older-whole-whole
qemu-img create -q -f vmdk -b disk.vmdk -F vmdk older-whole/top.vmdk
cp -r older-whole older
truncate -s -64K older/disk.vmdk

# count DIR: its files
count () { find "$1" -type f | wc -l; }

for kind in kdmv split flat lost vdi table older; do
    top=(${kind}/disk.v*); [ ! -e $kind/top.vmdk ] || top=($kind/top.vmdk)
    n=$(count $kind)
    expect_fail 'No child is made of a disk that is not whole: copy it again' "$TOOL" snapshot "${top[0]}"
    expect_fail 'No child is made of a disk that is not whole' nbdkit "$PLUGIN" "${top[0]}" write-to=$kind/new.img --run true
    [ "$(count $kind)" = $n ] || fail "$kind: something was made: $(ls $kind)"
    whole=(${kind}-whole/disk.v*); [ ! -e $kind-whole/top.vmdk ] || whole=($kind-whole/top.vmdk)
    "$TOOL" snapshot "${whole[0]}" > out 2> err
    [ ! -s err ] || fail "$kind: $(cat err)"
    echo "$kind: refused, and made when it is whole"
done

# The filter makes a child of its deltas.
"$MKIMAGE" make cowd d.vmdk --capacity=1M --fill=60
cp d.vmdk cut.vmdk
truncate -s -100K cut.vmdk
expect_fail 'No child is made of a disk that is not whole' \
    nbdkit_run null size=1M delta=cut.vmdk delta-write-to=filter.vmdk --run true
[ ! -e filter.vmdk ] || fail 'the filter made a child'

# What is damaged, but not cut, gets one, and a warning.
make damaged monolithicSparse
gt=$(($(od -An -tu4 -j$gd -N4 damaged/disk.vmdk) * 512))
rgt=$(($(od -An -tu4 -j$(($(od -An -tu4 -j48 -N4 damaged/disk.vmdk) * 512)) -N4 damaged/disk.vmdk) * 512))
for at in $gt $rgt; do printf '\2\0\0\0' | dd of=damaged/disk.vmdk bs=1 seek=$at conv=notrunc status=none; done
"$TOOL" snapshot damaged/disk.vmdk > out 2> err
grep -q 'warning: .*disk.vmdk has errors, which will show in what is made on it' err || fail "$(cat err)"
