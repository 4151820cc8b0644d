#!/bin/bash
# --progress=json of create, merge and compact, as of apply: lines of JSON on stderr, that
# go from nothing to all; and --threads of merge does not change a byte.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need tool mkimage qemu-img qemu-io perl

# lines WHAT: "progress" has at least one line of that, and all are in order.
lines () {
    perl -MJSON::PP -ne 'BEGIN { $what = shift }
        my $j = decode_json ($_);
        $seen{$j->{progress}}++;
        $j->{done} <= $j->{total} or die "more than all: $_";
        $n{$j->{progress}} //= 0; $j->{done} >= $n{$j->{progress}} or die "backwards: $_";
        $n{$j->{progress}} = $j->{done};
        END { $seen{$what} or die "no line of $what\n" }' "$1" progress || { cat progress; fail "$1"; }
}

head -c 8M /dev/urandom > new.img
truncate -s 8M base.img
"$TOOL" create --quiet --progress=json --from base.img --to new.img x.vmdk > out 2> progress
[ ! -s out ] || fail 'create: something on stdout'
lines comparing

qemu-img create -q -f vdi disk.vdi 32M
qemu-io -f vdi -c 'write -q -P 1 0 8M' -c 'write -q -P 0 0 4M' disk.vdi
"$TOOL" compact --quiet --progress=json disk.vdi > out 2> progress
[ ! -s out ] || fail 'compact: something on stdout'
lines moving

rm x.vmdk   # it would be a child of the next base
for threads in 1 7; do
    rm -f base.vmdk top.vmdk
    qemu-img create -q -f vmdk base.vmdk 16M
    qemu-io -f vmdk -c 'write -q -P 1 0 16M' base.vmdk
    qemu-img create -q -f vmdk -b base.vmdk -F vmdk top.vmdk
    qemu-io -f vmdk -c 'write -q -P 7 1M 5M' -c 'write -q -P 8 9M 64k' top.vmdk
    qemu-img convert -f vmdk -O raw top.vmdk want.raw
    "$TOOL" merge --quiet --threads=$threads --progress=json top.vmdk > out 2> progress
    [ ! -s out ] || fail 'merge: something on stdout'
    lines merging
    [ ! -e top.vmdk ] || fail 'not merged'
    qemu-img compare -q -f vmdk -F raw base.vmdk want.raw || fail "--threads=$threads: other bytes"
done
expect_fail 'threads' "$TOOL" merge --threads=0 base.vmdk

# --ignore-cid of merge: what is refused without it is merged.
qemu-img create -q -f vmdk -o subformat=twoGbMaxExtentSparse -b base.vmdk -F vmdk top.vmdk
qemu-io -f vmdk -c 'write -q -P 9 3M 64k' top.vmdk
qemu-img convert -f vmdk -O raw top.vmdk want.raw
sed -i 's/^parentCID=.*/parentCID=01234567/' top.vmdk
sha256sum -- *.vmdk > sums
expect_fail 'was made on content 01234567' "$TOOL" merge top.vmdk
sha256sum --quiet -c sums || fail 'something was written'
"$TOOL" merge --quiet --ignore-cid top.vmdk 2> err
qemu-img compare -q -f vmdk -F raw base.vmdk want.raw || fail '--ignore-cid: other bytes'
