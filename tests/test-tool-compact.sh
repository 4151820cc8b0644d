#!/bin/bash
# compact: QEMU reads the same disk afterwards and its check finds nothing; the size is
# that of what is not zeros; --dry-run says before what happens then.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need tool qemu-img qemu-io

# field NAME: of the JSON in $T/json.
field () { sed -n 's/^ *"'"$1"'": \([^,]*\),*$/\1/p' json; }

# like FILE FORMAT: it is the disk of FORMAT.raw, and in order.
like () {
    qemu-img compare -q -f "$2" -F raw "$1" "$2.raw" || fail "$1 differs"
    case $2 in
        vdi) qemu-img check -q -f vdi "$1" > log || fail "qemu-img check $1: $(cat log)" ;;
    esac
    "$TOOL" check --quiet "$1" > log 2>&1 || "$TOOL" check "$1" > log 2>&1 || fail "check $1: $(cat log)"
    grep -q ': clean' <("$TOOL" check "$1") || fail "$1 is not clean: $("$TOOL" check "$1")"
}

# compact_it FILE ARGS...: first dry, and nothing changes; then really, as it was said.
compact_it () {
    local before expected
    before=$(sha256 "$1")
    settled "${@: -1}"
    "$TOOL" compact --dry-run --json "$@" > json
    expected=$(grep -v 'allocated\|written' json)
    [ "$(field written)" = false ] && [ "$(field allocated-after)" = null ] || fail "--dry-run: $(cat json)"
    [ "$(sha256 "$1")" = "$before" ] || fail "--dry-run changed $1"
    "$TOOL" compact --json "$@" > json
    [ "$(grep -v 'allocated\|written' json)" = "$expected" ] || fail "not as --dry-run said: $(cat json), $expected"
}

# ---- VDI and VMDK, in place and to a new file ---------------------------------------

# 12 MiB are written, 5 of them are zeros.
for format in vdi vmdk; do
    qemu-img create -q -f $format original 65M
    qemu-io -f $format -c 'write -q -P 1 0 5M' -c 'write -q -P 2 60M 5M' -c 'write -q -P 3 30M 2M' \
        -c 'write -q -P 0 2M 2M' -c 'write -q -P 0 61M 3M' original
    qemu-img convert -f $format -O raw original $format.raw
    meta=$(($(stat -c %s original) - (12 << 20)))
    cp original disk.$format

    compact_it disk.$format
    [ "$(field zero-bytes)" = $((5 << 20)) ] || fail "$format: $(cat json)"
    [ "$(field size-after)" = "$(stat -c %s disk.$format)" ] || fail "$format: $(cat json)"
    [ "$(stat -c %s disk.$format)" = $((meta + (7 << 20))) ] || fail "$format: $(stat -c %s disk.$format) bytes"
    settled disk.$format
    [ $(($(field allocated-after) - 512 * $(stat -c %b disk.$format))) -le 65536 ] || fail "$format: $(cat json)"
    like disk.$format $format

    # Nothing is left, and nothing is written.
    digest=$(sha256 disk.$format) time=$(stat -c %y disk.$format)
    "$TOOL" compact disk.$format > log
    grep -q '^done .*nothing to give back' log || fail "$format again: $(cat log)"
    [ "$(sha256 disk.$format)" = "$digest" ] && [ "$(stat -c %y disk.$format)" = "$time" ] || fail "$format: written again"

    digest=$(sha256 original)
    "$TOOL" compact --dry-run --json --output=new.$format original > json
    [ "$(field size-after)" = $((meta + (7 << 20))) ] || fail "$format --output: $(cat json)"
    [ ! -e new.$format ] || fail "--dry-run made new.$format"
    "$TOOL" compact --quiet --output=new.$format original > log
    [ ! -s log ] || fail "--quiet: $(cat log)"
    [ "$(stat -c %s new.$format)" = $((meta + (7 << 20))) ] || fail "$format: $(stat -c %s new.$format) bytes in the new file"
    [ "$(sha256 original)" = "$digest" ] || fail "--output changed its source"
    like new.$format $format
    # Dense, and in the order of the disk.
    "$TOOL" compact --dry-run new.$format > log
    if grep -q '^moved\|^zeros\|^unused' log; then fail "the new file: $(cat log)"; fi
    "$TOOL" map --json new.$format | sed -n 's/.*"offset": \([0-9]*\).*/\1/p' > places
    sort -n -c places || fail "$format: the new file is not in order"
    expect_fail "new.$format exists already" "$TOOL" compact --output=new.$format original
    expect_fail 'exists already' "$TOOL" compact --output=original original
    compgen -G '*.part' && fail 'a temporary file was left'
    rm original
done

# ---- Split, flat, raw ------------------------------------------------------------------

# Two pieces of 2 GiB, with something in both.
qemu-img create -q -f vmdk -o subformat=twoGbMaxExtentSparse split.vmdk 3G
qemu-io -f vmdk -c 'write -q -P 1 0 1M' -c 'write -q -P 0 0 512k' -c 'write -q -P 1 2560M 1M' \
    -c 'write -q -P 0 2560M 512k' split.vmdk
qemu-img convert -f vmdk -O raw split.vmdk vmdk.raw
compact_it split.vmdk
[ "$(field zero-bytes)" = $((1 << 20)) ] || fail "split: $(cat json)"
[ "$(field size-after)" = $(($(stat -c %s split-s001.vmdk) + $(stat -c %s split-s002.vmdk))) ] || fail "split: $(cat json)"
like split.vmdk vmdk
expect_fail 'is a disk in several files' "$TOOL" compact --output=new split.vmdk

# Zeros that are stored, beside holes, and data within one block.
for ((i = 0; i < 1024; i++)); do printf '%04095d\n' $i; done > raw
dd if=/dev/zero of=raw bs=4096 seek=100 count=300 conv=notrunc status=none
dd if=/dev/zero of=raw bs=1 seek=$((500 * 4096 + 100)) count=5000 conv=notrunc status=none
dd if=/dev/zero of=raw bs=4096 seek=1024 count=10 conv=notrunc status=none
truncate -s 8M raw
printf 'end' | dd of=raw bs=1 seek=$((6 << 20)) conv=notrunc status=none
sync raw
cp raw raw.before; same raw raw.before
blocks=$(stat -c %b raw)
compact_it raw
same raw raw.before
[ "$(field zero-bytes)" -ge $((310 * 4096)) ] || fail "raw: $(cat json)"
sync raw
[ "$(stat -c %b raw)" -le $((blocks - 310 * 8)) ] || fail "raw: $blocks sectors before, $(stat -c %b raw) now"
"$TOOL" compact raw > log
grep -q 'nothing to give back' log || fail "raw again: $(cat log)"
expect_fail 'cp --sparse=always' "$TOOL" compact --output=new raw

# The extent is a part of its file: what is around it is not touched.
cat > flat.vmdk <<END
# Disk DescriptorFile
version=1
CID=00000001
parentCID=ffffffff
createType="monolithicFlat"
RW 2048 FLAT "flat-flat.vmdk" 2048
RW 128 ZERO
RW 2048 FLAT "flat-flat.vmdk" 6144
END
head -c 5M /dev/zero > flat-flat.vmdk
printf 'x' | dd of=flat-flat.vmdk bs=1 seek=$((1500 * 1024)) conv=notrunc status=none
sync flat-flat.vmdk
cp flat-flat.vmdk flat.before
blocks=$(stat -c %b flat-flat.vmdk)
compact_it flat.vmdk
[ "$(field zero-bytes)" = $(((2 << 20) - 4096)) ] || fail "flat: $(cat json)"
same flat-flat.vmdk flat.before
settled flat-flat.vmdk
[ "$(stat -c %b flat-flat.vmdk)" -le $((blocks - 511 * 8)) ] && [ "$(stat -c %b flat-flat.vmdk)" -ge $((3 * 2048)) ] ||
    fail "flat: $blocks sectors before, $(stat -c %b flat-flat.vmdk) now"

# ---- Children -----------------------------------------------------------------------------

# One that knows an entry for zeros, one that does not; over a parent without zeros.
qemu-img create -q -f vmdk base.vmdk 4M
qemu-io -f vmdk -c 'write -q -P 7 0 4M' base.vmdk
for zeroed in on off; do
    qemu-img create -q -f vmdk -F vmdk -b base.vmdk -o zeroed_grain=$zeroed child.vmdk
    qemu-io -f vmdk -c 'write -q -P 1 0 1M' -c 'write -q -P 2 3M 1M' child.vmdk
    # QEMU would write an entry where it can, so the zeros are put into the file.
    "$TOOL" map --json --no-parents child.vmdk > map
    where=$(sed -n 's/.*"start": 0,.*"offset": \([0-9]*\).*/\1/p' map)
    dd if=/dev/zero of=child.vmdk bs=65536 seek=$((where / 65536)) count=8 conv=notrunc status=none
    qemu-img convert -f vmdk -O raw child.vmdk vmdk.raw
    size=$(stat -c %s child.vmdk)
    cp child.vmdk copy.vmdk
    compact_it child.vmdk
    if [ $zeroed = on ]; then
        [ "$(field zero-bytes)" = 524288 ] && [ "$(field kept-bytes)" = 0 ] &&
            [ "$(stat -c %s child.vmdk)" = $((size - 524288)) ] || fail "child: $(cat json)"
    else
        [ "$(field zero-bytes)" = 0 ] && [ "$(field kept-bytes)" = 524288 ] &&
            [ "$(stat -c %s child.vmdk)" = "$size" ] || fail "child: $(cat json)"
        settled child.vmdk
        [ $((512 * $(stat -c %b child.vmdk))) -le $((size - 524288)) ] || fail 'child: no holes'
    fi
    like child.vmdk vmdk
    "$TOOL" compact --quiet --output=new-$zeroed.vmdk copy.vmdk
    qemu-img compare -q -f vmdk -F raw new-$zeroed.vmdk vmdk.raw || fail "child, new file, zeroed_grain=$zeroed"
done

# The base may be compacted below its children: its CID stays.
qemu-io -f vmdk -c 'write -q -P 0 1M 1M' base.vmdk
qemu-img create -q -f vmdk -F vmdk -b base.vmdk over.vmdk
qemu-io -f vmdk -c 'write -q -P 9 64k 64k' over.vmdk
qemu-img convert -f vmdk -O raw over.vmdk vmdk.raw
compact_it base.vmdk
[ "$(field zero-bytes)" = $((1 << 20)) ] || fail "base: $(cat json)"
like over.vmdk vmdk
"$TOOL" info --chain over.vmdk > log
[ "$(grep -c ' ok$' log)" = 2 ] || fail "the chain: $(cat log)"
