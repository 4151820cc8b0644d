#!/bin/bash
# A descriptor cannot make the server hand out files elsewhere.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/drive/fixture.sh"
need filter mkimage nbdcopy

simple
mkdir in out
secret=TOP-SECRET-CONTENT
for ((i = 0; i < 30; i++)); do echo "$secret $i"; done > out/secret
truncate -s 4096 out/secret
ln -s ../out/secret in/link
ln -s ../out in/dirlink
mv x.vmdk x-cowd.vmdk in

# refused NAME [TYPE]: as the name of an extent.
refused () {
    printf '# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=2\nRW 8 %s "%s"\n' "${2:-FLAT}" "$1" > in/d.vmdk
    expect_fail 'leads outside of|neither a regular file|is a |outside|a device of the machine where' \
        nbdkit_run file base.raw delta=in/d.vmdk --run 'nbdcopy "$uri" copied'
    ! grep -q "$secret" "$T/output" || fail "$1: the message discloses what is in the file"
    [ ! -s copied ] || fail "$1: something was served"
}
for type in FLAT SPARSE VMFSSPARSE SESPARSE VMFS; do
    refused /etc/passwd $type
    ! grep -q root: "$T/output" || fail 'discloses /etc/passwd'
    refused ../out/secret $type
    refused "$T/out/secret" $type
    refused link $type
done
refused dirlink/secret
refused ../in/../out/secret
refused dirlink/../../out/secret
refused /proc/self/environ
refused /dev/zero

# Names that only look like it are fine.
nbdkit_run file base.raw delta=in/x.vmdk --run 'nbdcopy "$uri" out.raw'
same expected.raw out.raw
sed 's,"x-cowd.vmdk",".././in/../in/x-cowd.vmdk",' in/x.vmdk > in/dots.vmdk
nbdkit_run file base.raw delta=in/dots.vmdk --run 'nbdcopy "$uri" out.raw'
same expected.raw out.raw

# On request anything goes.
sed "s,\"x-cowd.vmdk\",\"$T/in/x-cowd.vmdk\"," in/x.vmdk > out/y.vmdk
expect_fail 'leads outside of' nbdkit_run file base.raw delta=out/y.vmdk --run true
nbdkit_run file base.raw delta=out/y.vmdk delta-unconfined=true --run 'nbdcopy "$uri" out.raw'
same expected.raw out.raw
