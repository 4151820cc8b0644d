#!/bin/bash
# What README.md says about qemu-img and damaged or incomplete files.
#
# The filter has to do what the table says.  What qemu-img does is printed; only
# for the version that the table names (7.2.22) must it be what the table says.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need filter mkimage qemu-img nbdcopy

version=$(qemu-img --version | sed -n 's/^qemu-img version \([0-9.]*\).*/\1/p')
half=$((8 << 20)) size=$((16 << 20))

# descriptor FILE CID PARENT-CID [HINT]: the extent lines come from stdin.
descriptor () {
    { printf '# Disk DescriptorFile\nversion=1\nCID=%s\nparentCID=%s\ncreateType="vmfsSparse"\n' "$2" "$3"
      [ -z "${4:-}" ] || printf 'parentFileNameHint="%s"\n' "$4"
      cat; } > "$1"
}

# qemu CASE GOOD FILE: convert with qemu-img.  With version 7.2.22 it must
# succeed and differ from the file GOOD.
qemu () {
    local status=0 differs=yes
    rm -f qemu.raw
    qemu-img convert -O raw "$3" qemu.raw || status=$?
    [ ! -e qemu.raw ] || ! cmp -s qemu.raw "$2" || differs=no
    echo "qemu-img $version, $1: status $status, wrong data: $differs"
    [ "$version" != 7.2.22 ] || [ "$status $differs" = '0 yes' ] || fail "README.md says something else of $1"
}

# One request at a time: nbdkit 1.32 may fail an assertion of its own when a client
# goes away with replies outstanding, as nbdcopy does after an error.
copy () { nbdkit_run file "${base:-base.raw}" "$@" --run 'nbdcopy --synchronous "$uri" ours.raw'; }

nbdkit pattern $size --run 'nbdcopy "$uri" base.raw'
cp base.raw disk-flat.vmdk
descriptor disk.vmdk 11111111 ffffffff <<< "RW $((size / 512)) VMFS \"disk-flat.vmdk\""

for format in cowd kdmv sesparse; do
    "$MKIMAGE" make $format x-delta.vmdk --capacity=$size --fill=10 --runs=4 \
        --descriptor=x.vmdk --parent=disk.vmdk --cid=22222222 --parent-cid=11111111
    qemu-img convert -O raw x.vmdk good.raw
    copy delta=x.vmdk
    same ours.raw good.raw

    truncate -s $(($(stat -c %s x-delta.vmdk) / 1024 * 512)) x-delta.vmdk
    qemu "$format cut in half" good.raw x.vmdk
    expect_fail 'the file ends at sector .* truncated' copy delta=x.vmdk
done

"$MKIMAGE" make cowd x-delta.vmdk --capacity=$size --fill=10 --runs=4 \
    --descriptor=x.vmdk --parent=disk.vmdk --cid=22222222 --parent-cid=11111111
qemu-img convert -O raw x.vmdk good.raw

# The first table entry that is not 0 gets sector 0x7fffffff.
cp x-delta.vmdk keep
table=$(($(od -An -tu4 -j $(($(od -An -tu4 -j 20 -N 4 x-delta.vmdk) * 512)) -N 4 x-delta.vmdk) * 512))
entry=$(od -An -v -w4 -tu4 -j $table -N 16384 x-delta.vmdk | awk '$1 && !n { n = NR } END { print n - 1 }')
printf '\377\377\377\177' | dd of=x-delta.vmdk bs=1 seek=$((table + entry * 4)) conv=notrunc status=none
qemu 'entry past the end of the file' good.raw x.vmdk
expect_fail "grain $entry .* is at sector 2147483647, but the file ends" copy delta=x.vmdk
mv keep x-delta.vmdk

grep -v parentFileNameHint x.vmdk > nohint.vmdk
qemu 'no parentFileNameHint' good.raw nohint.vmdk
copy delta=nohint.vmdk
same ours.raw good.raw

# A delta of two extents, the first of them not RW or without data.
"$MKIMAGE" make cowd a.vmdk --capacity=$half --fill=20 --layer=1
"$MKIMAGE" make cowd b.vmdk --capacity=$half --fill=20 --layer=2
tail -c $half base.raw > upper.raw
base=upper.raw copy delta=b.vmdk
mv ours.raw b.raw
copy delta=a.vmdk
mv ours.raw a.raw
for line in 'RDONLY 16384 VMFSSPARSE "a.vmdk"' 'NOACCESS 16384 VMFSSPARSE "a.vmdk"' 'RW 16384 ZERO'; do
    printf '%s\nRW 16384 VMFSSPARSE "b.vmdk"\n' "$line" | descriptor two.vmdk 22222222 11111111 disk.vmdk
    case $line in
        RDONLY*) cat a.raw b.raw > two.raw ;;
        *) { head -c $half /dev/zero; cat b.raw; } > two.raw ;;
    esac
    qemu "$line" two.raw two.vmdk
    copy delta=two.vmdk
    same ours.raw two.raw
done

# A base of half the size.
truncate -s $half disk-flat.vmdk
descriptor disk.vmdk 11111111 ffffffff <<< "RW $((half / 512)) VMFS \"disk-flat.vmdk\""
qemu 'base too small' good.raw x.vmdk
base=disk-flat.vmdk expect_fail "the base has $half bytes, but the delta" copy delta=x.vmdk

# A raw base: qemu-img refuses the delta, one way or the other.
expect_fail 'Invalid argument|not open' qemu-img convert -O raw "json:{\"driver\":\"vmdk\",
    \"file\":{\"driver\":\"file\",\"filename\":\"x.vmdk\"},
    \"backing\":{\"driver\":\"raw\",\"file\":{\"driver\":\"file\",\"filename\":\"base.raw\"}}}" qemu.raw
copy delta=x.vmdk delta-follow=false
same ours.raw good.raw
