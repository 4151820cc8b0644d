#!/bin/bash
# Disks and parents whose data is not in files that can be read: refused by plugin and
# filter, with the line and what to do.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/test-chain-disks.sh"
need filter nbdinfo

head -c 65536 /dev/zero > raw
base a.vmdk 1 A
child ok.vmdk 2 1 "$(hint a.vmdk)" 'isNativeSnapshot="no"'
sees A ok.vmdk
silent

# both TEXT...: neither takes s.vmdk, nor a child of it.
both () {
    refused s.vmdk
    says "$@"
    filter_refused file raw delta=s.vmdk
    says "$@"
    refused t.vmdk
    says "$@" "$T/t.vmdk"
    filter_refused file raw delta=t.vmdk
    says "$@" "$T/t.vmdk"
}
child t.vmdk 3 2 "$(hint s.vmdk)"

for type in VMFSRDM VMFSRAW VSANSPARSE vsansparse; do
    child s.vmdk 2 1 "$(hint a.vmdk)"
    sed -i "s/^RW 128 VMFSSPARSE/RW 128 $type/" s.vmdk
    both "$T/s.vmdk line 7: extent type $type is a raw device mapping or vSAN object" 'export the disk itself'
done
sed -i "s/^RW 128 vsansparse/RW 128 MAGIC/" s.vmdk
both "$T/s.vmdk line 7: extent type 'MAGIC' is not supported; known are FLAT, VMFS, SPARSE, VMFSSPARSE, SESPARSE and ZERO"

child s.vmdk 2 1 "$(hint a.vmdk)" 'isNativeSnapshot="yes"'
both "$T/s.vmdk line 6: isNativeSnapshot is \"yes\"" 'made by the storage array' 'only "no" is supported'
child s.vmdk 2 1 "$(hint a.vmdk)" 'encryption.keySafe = "vmware:key/list/(pair/(fqid/x"'
both "$T/s.vmdk line 6: the disk is encrypted (encryption.keysafe)" 'decrypt it with the product that made it'
child s.vmdk 2 1 "$(hint a.vmdk)" 'ddb.iofilters = "vmwarevmcrypt"'
both "$T/s.vmdk line 6: the disk is encrypted (ddb.iofilters)"
child s.vmdk 2 1 "$(hint a.vmdk)" version=5
sed -i 2d s.vmdk
both "$T/s.vmdk line 5: descriptor version '5' is not supported, only 1 to 4"

for h in vsan://5f3a/x.vmdk '[datastore1] vm/disk.vmdk' nbd://localhost/x json:{}://x; do
    child s.vmdk 2 1 "$(hint "$h")"
    refused s.vmdk
    says "$T/s.vmdk: parentFileNameHint '$h' names an object of a datastore, not a file: export the disk itself"
    refused t.vmdk
    says "$T/s.vmdk: parentFileNameHint '$h'"
    filter_refused file raw delta=s.vmdk
    says "$T/s.vmdk: parentFileNameHint '$h'"
done

# Other images are not VMDKs.
printf 'QFI\373\0\0\0\3' > s.vmdk; head -c 4096 /dev/zero >> s.vmdk
refused s.vmdk
says "$T/s.vmdk is a qcow image"
: > s.vmdk
refused s.vmdk
says "$T/s.vmdk"
