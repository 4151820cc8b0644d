#!/bin/bash
# A base that is an image of another format, or an archive, is no raw disk: the client is
# refused, and told what it is.  What only looks a little like one is served.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/drive/fixture.sh"
need filter mkimage qemu-img nbdcopy nbdinfo nbdkit:plugin:eval

simple
n=0

# refused REGEX BASE: over nbdkit's file plugin; the message names the option.
refused () {
    serve file "$2" delta=x.vmdk 2> log
    expect_fail . nbdinfo --size "$uri"
    grep -Eq "error: the base \(the export under the filter\) is $1.*delta-base-format=raw" log ||
        fail "$2: $(cat log)"
    kill -0 "$server_pid" || fail 'the server is gone'
    stop
    n=$((n + 1))
}

# served FILE WANT [ARGS...]: over it the disk is WANT.
served () {
    local file=$1 want=$2
    shift 2
    nbdkit_run file "$file" delta=x.vmdk "$@" --run 'nbdcopy "$uri" out.raw' || fail "$file is not served"
    same "$want" out.raw
}

# ---- Images that other programs make ------------------------------------------------

for format in qcow qcow2 qed parallels vhdx vdi vmdk; do
    qemu-img convert -S 0 -f raw -O $format base.raw b.$format
done
refused 'a qcow image.*qemu-img convert' b.qcow
refused 'a qcow image.*qemu-img convert' b.qcow2
refused 'a QED image' b.qed
refused 'a Parallels image' b.parallels
refused 'a VHDX image' b.vhdx
refused 'a sparse image \(VDI\)' b.vdi
refused 'a sparse image \(KDMV\).*nbdkit vmdk' b.vmdk
qemu-img convert -f raw -O vpc -o subformat=dynamic base.raw b.vhd
refused 'a dynamic VHD image' b.vhd
# Only its footer is left.
poke b.vhd 0 00 00 00 00 00 00 00 00
refused 'a dynamic VHD image \(by its footer\)' b.vhd
for subformat in streamOptimized twoGbMaxExtentSparse; do
    qemu-img convert -f raw -O vmdk -o subformat=$subformat base.raw $subformat.vmdk
done
refused 'a sparse image \(KDMV\)' streamOptimized.vmdk
refused 'a sparse image \(KDMV\)' twoGbMaxExtentSparse-s001.vmdk
refused 'the descriptor of a snapshot or sparse disk.*nbdkit vmdk' twoGbMaxExtentSparse.vmdk
refused 'a sparse image \(COWD\)' x-cowd.vmdk
delta s sesparse --capacity=16M
refused 'a sparse image \(SEsparse\)' s-sesparse.vmdk

# ---- Archives, compressed files ------------------------------------------------------

tar -cf b.ova base.raw; refused 'a tar archive.*tar xf' b.ova
tar --format=v7 -cf b.tar base.raw; refused 'a tar archive' b.tar
gzip -c base.raw > b.gz; refused 'compressed by gzip.*--filter=gzip' b.gz
for tool in xz bzip2 zstd lz4; do
    command -v $tool > /dev/null || continue
    $tool -c < base.raw > b.$tool
    refused "compressed by $tool" b.$tool
done
# magic NAME OFFSET HEX...: a megabyte of the base with these bytes in it.
magic () { head -c 1M base.raw > m.raw; poke m.raw "${@:2}"; refused "$1" m.raw; }
magic 'a zip archive' 0 50 4b 03 04
magic 'a 7z archive' 0 37 7a bc af 27 1c
magic 'a rar archive' 0 52 61 72 21 1a 07 01 00
magic 'an EnCase image' 0 45 56 46 09 0d 0a ff 00
magic 'a macOS disk image' 1048064 6b 6f 6c 79 00 00 00 04 00 00 02 00
magic 'a VMDK that was never finished' 0 76 6d 64 6b

# Not a disk at all, and smaller: what it is says more than its size.
echo '<!DOCTYPE html><html>404</html>' > page
refused 'a web page' page
printf 'version https://git-lfs.github.com/spec/v1\noid sha256:00\n' > pointer
refused 'a pointer of Git LFS' pointer

# ---- What is none of these -----------------------------------------------------------

# A fixed VHD is raw, with a footer.
qemu-img convert -f raw -O vpc -o subformat=fixed,force_size base.raw fixed.vhd
served fixed.vhd expected.raw
# Raw disks that hold a file system, or are encrypted, or begin with a text or a page.
head_of () { cp base.raw h.raw; poke h.raw "$@"; cp h.raw want.raw; overlay want.raw x.raw; served h.raw want.raw; }
head_of 0 4c 55 4b 53 ba be 00 02                   # LUKS
head_of 0 58 46 53 42                               # XFS
head_of 3 4e 54 46 53 20 20 20 20                   # NTFS
head_of 32769 43 44 30 30 31                        # ISO 9660
head_of 0 68 73 71 73                               # squashfs
head_of 0 3c 68 74 6d 6c 3e                         # <html>
head_of 0 1f 8b 09 00                               # nearly gzip
head_of 257 75 73 74 61 00                          # nearly tar
head_of 4194240 63 6f 6e 65 63 74 69 78             # a word near the end
head_of 4193792 63 6f 6e 65 63 74 69 78 00          # the footer's, without its sum
# A base so small, or of such a size, that there is no last sector.
for size in 0 1 100 511 513 1000; do
    head -c $size base.raw > tiny.raw
    cp tiny.raw want.raw
    truncate -s 4M want.raw
    overlay want.raw x.raw
    served tiny.raw want.raw delta-allow-short-base=true
done
# But a small one can be an image.
printf 'QFI\373' > tiny.raw
serve file tiny.raw delta=x.vmdk delta-allow-short-base=true 2> log
expect_fail . nbdinfo --size "$uri"
grep -q 'is a qcow image' log || fail "$(cat log)"
stop

# ---- A disk without partitions, to which a guest wrote an image ------------------------

for image in b.qcow2 b.vmdk b.vdi b.ova b.gz; do
    head -c 4M $image > guest.raw
    truncate -s 4M guest.raw
    cp guest.raw want.raw
    overlay want.raw x.raw
    served guest.raw want.raw delta-base-format=raw
done
expect_fail 'delta-base-format=qcow2 is not understood; allowed is raw' \
    nbdkit_run file base.raw delta=x.vmdk delta-base-format=qcow2 --run true

# ---- Other servers --------------------------------------------------------------------

# By NBD, with a smallest block: reads stay whole blocks.
start --filter=blocksize-policy file b.qcow2 blocksize-minimum=4096 blocksize-preferred=4096 \
    blocksize-maximum=1M blocksize-error-policy=error
below=$sock
serve nbd socket="$below" delta=x.vmdk 2> log
expect_fail . nbdinfo --size "$uri"
grep -q 'is a qcow image' log || fail "$(cat log)"
stop
stop

# Its first sector cannot be read: nothing is given out, as nobody knows what it is.
read='if [ $4 -eq 0 ] && [ ! -e '"$T"'/mended ]; then echo EIO no >&2; exit 1; fi
    dd if='"$T"'/b.qcow2 iflag=skip_bytes,count_bytes skip=$4 count=$3 bs=64k status=none'
for mended in no yes; do
    rm -f mended
    serve eval get_size="stat -c %s $T/b.qcow2 | sed 's/.*/4194304/'" pread="$read" delta=x.vmdk 2> log
    nbdinfo --size "$uri" > /dev/null
    # Then it can be, and the next client is told at once.
    [ $mended = no ] || : > mended
    expect_fail 'Input/output error|no export named' read_range 0 4194304
    expect_fail 'Input/output error|no export named' read_range 4190208 4096
    stop
done
grep -q 'is a qcow image' log || fail "$(cat log)"
echo "$n bases refused"
