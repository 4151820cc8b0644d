#!/bin/bash
# What people give by mistake is named for what it is, with what to do: by info, check and the
# plugin.  It is never called damaged, and never proposed as a base unless it could be one.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need tool plugin mkimage qemu-img
n=0

# is FILE REGEX: all say so.
is () {
    expect_fail "$2" "$TOOL" info "$1"
    ! grep -Eiq 'damaged|corrupt' "$T/output" || fail "$1: called damaged: $(cat "$T/output")"
    case $2 in *base*) ;; *) ! grep -q 'as the base' "$T/output" || fail "$1 is no base: $(cat "$T/output")" ;; esac
    cp "$T/output" said
    expect_fail "$2" "$TOOL" check "$1"
    expect_fail "$2" nbdkit "$PLUGIN" "file=$1" --run true
    n=$((n + 1))
}
text () { printf "$2" > "$1"; }

echo '<?xml version="1.0"?><Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1"/>' > x.ovf
echo hello > a
tar --format=ustar -cf x.ova x.ovf a
tar czf x.box a
gzip -c a > d.vmdk.gz
is x.ova 'is a tar archive \(OVA files are such\): unpack it \(tar xf\)'
is x.box "is compressed by gzip \(Vagrant's .box"
is d.vmdk.gz 'is compressed by gzip.*gunzip'
mv d.vmdk.gz d.vmdk
is d.vmdk 'is compressed by gzip'
if command -v xz > /dev/null; then xz -c a > d.vmdk.xz; is d.vmdk.xz 'is compressed by xz'; fi
text d.zip 'PK\003\004aaaaaaaa'; is d.zip 'is a zip archive: unpack it'
for format in qcow2 vhdx vpc qed parallels; do
    qemu-img create -q -f $format d.$format 1M
    is d.$format 'is a .* image: convert it \(qemu-img convert'
done
qemu-img create -q -f vpc -o subformat=fixed,force_size fixed.vhd 1M
is fixed.vhd 'is a fixed VHD, which is a raw disk and a footer: use it as the base'

: > empty.vmdk;                     is empty.vmdk 'is empty \(0 bytes\): making or copying it failed'
truncate -s 1M zeros.vmdk;          is zeros.vmdk 'begins with 4096 bytes of zeros.  If it is a copy, it is not complete.*base'
truncate -s 1000 odd.vmdk;          is odd.vmdk 'is no raw disk either: its size is not a whole number of sectors'
head -c 4096 /dev/urandom > noise;  printf '\001' | dd of=noise conv=notrunc status=none
is noise 'is not a VMDK.*use it as the base'
text d404.vmdk '<html><body>404</body></html>';  is d404.vmdk 'is a web page.*get the file itself again'
text json.vmdk '{"message": "Not Found"}';       is json.vmdk 'is JSON, perhaps of an error'
text s3.vmdk '<?xml version="1.0"?>\n<Error><Code>NoSuchKey</Code></Error>'
is s3.vmdk 'is an error that a server sent'
text lfs.vmdk 'version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n'
is lfs.vmdk 'is a pointer of Git LFS: get the file itself \(git lfs pull\)'
text annex.vmdk '/annex/objects/SHA256E-s1--00.vmdk\n'; is annex.vmdk 'git annex get'
text link.vmdk '../images/disk.vmdk';            is link.vmdk 'is the text of a symbolic link.*give the file that it names'
text utf16.vmdk '\377\376#\0 \0D\0i\0s\0k\0';    is utf16.vmdk 'is a descriptor in UTF-16.*iconv'
text notes.vmdk 'do not forget the milk\n';      is notes.vmdk 'is a text, but not a VMDK descriptor'

head -c 4096 /dev/urandom > disk-000001-ctk.vmdk
printf '\012\215\015\000' | dd of=disk-000001-ctk.vmdk conv=notrunc status=none
is disk-000001-ctk.vmdk 'is a list of changed blocks \(CBT\): it holds nothing of the disk'
text vm.vmsn '\320\276\322\276\010\0\0\0aaaa';   is vm.vmsn 'is a memory snapshot'
text vm.nvram 'MRVN\001\0\0\0';                  is vm.nvram 'is the BIOS settings'
text vm.vmsd '.encoding = "UTF-8"\nsnapshot.lastUID = "2"\n'; is vm.vmsd 'list of snapshots'
text vm.conf '.encoding = "UTF-8"\nconfig.version = "8"\n';   is vm.conf "is a machine file of VMware's"
text x.mf 'SHA256(x.ovf)= 0123\n';               is x.mf 'is a list of checksums'
text vmware.log '2026-01-01T00:00:00| vmx| I125: Log for VMware ESX\n'; is vmware.log 'is a log'
is x.ovf 'is an OVF envelope.*ovf:href'

# Parts of one file.
"$MKIMAGE" make kdmv whole.vmdk --capacity=1M --embedded
head -c 4096 /dev/urandom > x-disk1.vmdk.000000001; printf '\001' | dd of=x-disk1.vmdk.000000001 conv=notrunc status=none
is x-disk1.vmdk.000000001 'is one chunk of a file: join all of them'
cp x-disk1.vmdk.000000001 disk.vmdk.002
is disk.vmdk.002 'is one part of a file that was cut in pieces: join'
cp x-disk1.vmdk.000000001 disk.vmdk.part
is disk.vmdk.part 'is a download that is not complete'
echo "$n files"
