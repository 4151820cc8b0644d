#!/bin/bash
# A flat file that is cut, and a piece of a split disk that is not there: everything else is served,
# a read of the lost part is an error, check names the range, and nothing is written over it.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/test-chain-disks.sh"
need filter plugin tool nbdinfo

read_range () { "$builddir/tests/read-range" "$uri" "$@"; }

head -c 65536 /dev/urandom > whole
printf '\1' | dd of=whole conv=notrunc status=none

# lost FILE FROM TO WARNING: the plugin serves all of FILE, which is $want, but this part.
lost () {
    start "$PLUGIN" "file=$1" 2> log
    grep -Fq -e "$4" log || fail "$1: no warning '$4': $(cat log)"
    read_range 0 "$2" > have
    head -c "$2" "$want" | same - have
    [ "$3" = "$size" ] || { read_range "$3" $((size - $3)) > have; tail -c +$(($3 + 1)) "$want" | same - have; }
    expect_fail 'Input/output error' read_range $((($2 + $3) / 1024 * 512)) 512
    expect_fail 'Input/output error' read_range $(($2 - 512)) $(($3 - $2 + 512))
    grep -q "$5" log || fail "$1: the read is not explained: $(cat log)"
    nbdinfo --map "$uri" > /dev/null
    stop
    status=0; "$TOOL" check "$1" > out 2>&1 || status=$?
    [ $status = 3 ] || { cat out; fail "check $1: status $status"; }
    grep -q 'extent-lost (1)' out || { cat out; fail "check $1"; }
    grep -Eq "lost +$2|lost.*$2" out || { cat out; fail "check $1 does not name the range from $2"; }
    "$TOOL" info "$1" > out 2>&1 || :
    grep -q "$(($3 - $2))" out || { cat out; fail "info $1"; }
}
# Whatever would write, or need the part, is refused, and changes nothing.
untouched () {
    local before
    before=$(sha256sum -- *.vmdk)
    expect_fail "$1" "${@:2}"
    [ "$before" = "$(sha256sum -- *.vmdk)" ] || fail "files were changed: $*"
}

# ---- Cut --------------------------------------------------------------------------

base disk.vmdk 1 A
child disk-000001.vmdk 2 1 "$(hint disk.vmdk)"
want=whole size=65536
for cut in 62536 4096 65535 1024; do
    head -c $cut whole > disk-flat.vmdk
    for f in disk.vmdk disk-000001.vmdk; do
        start "$PLUGIN" "file=$f" 2> log
        grep -q "disk-flat.vmdk is $cut bytes long, but the extent needs 65536 bytes.*the $((65536 - cut)) bytes at its end are lost" log ||
            fail "$(cat log)"
        read_range 0 $((cut / 512 * 512)) > have
        head -c $((cut / 512 * 512)) whole | same - have
        expect_fail 'Input/output error' read_range 65024 512
        stop
    done
    lost disk.vmdk $cut 65536 'are lost' 'is truncated, or not the right file'
    untouched 'disk-flat.vmdk' "$TOOL" merge disk-000001.vmdk
    untouched 'disk-flat.vmdk' "$TOOL" compact disk.vmdk
    untouched 'disk-flat.vmdk' "$TOOL" create --from disk-000001.vmdk --to whole new.vmdk
    untouched 'has .* bytes, but the delta' "$TOOL" apply disk-000001.vmdk disk-flat.vmdk
done
: > disk-flat.vmdk
refused disk.vmdk
says 'disk-flat.vmdk is 0 bytes long'

# ---- A piece of a split disk is not there --------------------------------------------

want=both size=131072
head -c 131072 /dev/urandom > both
printf '\1' | dd of=both conv=notrunc status=none
head -c 65536 both > s-f001.vmdk
tail -c 65536 both > s-f002.vmdk
printf '%s\n' '# Disk DescriptorFile' version=1 CID=aa parentCID=ffffffff 'createType="twoGbMaxExtentFlat"' \
    'RW 128 FLAT "s-f001.vmdk" 0' 'RW 128 FLAT "s-f002.vmdk" 0' > s.vmdk
child s-000001.vmdk bb aa "$(hint s.vmdk)"
sed -i 's/^RW.*/&\nRW 128 ZERO/' s-000001.vmdk
mkdir away
mv s-f002.vmdk away
lost s.vmdk 65536 131072 's.vmdk line 7' 's-f002.vmdk'
untouched 's-f002.vmdk' "$TOOL" merge s-000001.vmdk
untouched 's.vmdk line 7 refers to s-f002.vmdk.*No such file' "$TOOL" compact s.vmdk
mv s-000001.vmdk away
untouched 's-f002.vmdk is not complete' nbdkit "$PLUGIN" s.vmdk write=true --run true
mv away/s-000001.vmdk .
"$TOOL" info --json s.vmdk > out || :
grep -q '"reason": "s.vmdk line 7 refers to s-f002' out || fail "$(cat out)"
untouched 's-f002.vmdk' "$TOOL" create --from s.vmdk --to both new.vmdk
mv away/s-f002.vmdk .
mv s-f001.vmdk away
start "$PLUGIN" file=s.vmdk 2> log
read_range 65536 65536 > have
same s-f002.vmdk have
expect_fail 'Input/output error' read_range 0 512
stop
mv s-f002.vmdk away
refused s.vmdk
says 's.vmdk line 6' 's-f001.vmdk'
mv away/* .

# The same of a delta in pieces.
for i in 1 2; do "$MKIMAGE" make kdmv d-s00$i.vmdk --capacity=64K --fill=100 --raw=d$i.raw --content=noise; done
printf '%s\n' '# Disk DescriptorFile' version=1 CID=cc parentCID=aa "$(hint s.vmdk)" 'createType="twoGbMaxExtentSparse"' \
    'RW 128 SPARSE "d-s001.vmdk"' 'RW 128 SPARSE "d-s002.vmdk"' > d.vmdk
cat d1.raw d2.raw > dd.raw
want=dd.raw
mv d-s002.vmdk away
lost d.vmdk 65536 131072 'd.vmdk line 8' 'd-s002.vmdk'
for n in 0 100 512 1024; do  # a copy that has hardly begun
    head -c $n away/d-s002.vmdk > d-s002.vmdk
    lost d.vmdk 65536 131072 'are lost' 'd-s002.vmdk'
done
rm d-s002.vmdk
cp both target
untouched 'd-s002.vmdk' "$TOOL" apply d.vmdk target
same both target
start --filter="$FILTER" file both delta=d.vmdk 2> log
read_range 0 65536 > have
same d1.raw have
expect_fail 'Input/output error' read_range 65536 512
stop
