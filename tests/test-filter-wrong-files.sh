#!/bin/bash
# What is not a delta is refused at the start, and the message says what it is.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/drive/fixture.sh"
need filter mkimage

simple
refused () {  # REGEX DELTA [ARGS...]
    local regex=$1 file=$2
    shift 2
    expect_fail "$regex" nbdkit_run file base.raw delta="$file" "$@" --run true
}
refused 'missing\.vmdk.*No such file' missing.vmdk
refused 'No such file|empty' ''
mkdir directory
refused 'is a directory' directory
mkfifo fifo
refused 'is a named pipe' fifo
refused 'is a character device' /dev/zero

: > empty.vmdk
refused 'empty\.vmdk' empty.vmdk
head -c 4096 /dev/urandom > noise.vmdk
poke noise.vmdk 0 01 02 03 04
refused 'noise\.vmdk is not a VMDK.*use it as the base' noise.vmdk
cp base.raw disk-flat.vmdk
refused 'disk-flat\.vmdk is the data of a disk.*open .*disk\.vmdk' disk-flat.vmdk
printf 'QFI\373\0\0\0\003' > disk.qcow2
truncate -s 64K disk.qcow2
refused 'qcow' disk.qcow2
echo 'a text of no kind' > text.vmdk
refused 'text\.vmdk' text.vmdk

# The base's own descriptor: nothing would be seen of the base.
cat > disk.vmdk <<'VMDK'
# Disk DescriptorFile
version=1
CID=01234567
parentCID=ffffffff
createType="monolithicFlat"
RW 8192 FLAT "disk-flat.vmdk" 0
VMDK
refused 'disk\.vmdk is not a delta.*no parent' disk.vmdk

# Its writer never got to write the magic of a finished file.
"$MKIMAGE" make stream unfinished.vmdk --capacity=1M --embedded
poke unfinished.vmdk 0 76 6d 64 6b
refused 'unfinished\.vmdk is a VMDK that was never finished by its writer' unfinished.vmdk

# An extent that is missing, or too short.
mv x-cowd.vmdk away
refused 'x\.vmdk.*x-cowd\.vmdk.*No such file' x.vmdk
