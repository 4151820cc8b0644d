#!/bin/bash
# A base whose descriptor tells of data that is elsewhere (a LUN, a vSAN object, an array's
# snapshot, an encrypted disk), beside a raw copy of that data: of the descriptor only CID and
# size are needed, and they are compared.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/test-chain-disks.sh"
need filter tool

letters A > lun.img
child disk-000001.vmdk 2 1 "$(hint disk.vmdk)"
child disk-000002.vmdk 3 2 "$(hint disk-000001.vmdk)"

# describe CREATETYPE EXTENT [LINE]: disk.vmdk, with CID 1.
describe () {
    printf '%s\n' '# Disk DescriptorFile' version=1 CID="${cid:-1}" parentCID=ffffffff \
        "isNativeSnapshot=\"${native:-no}\"" "createType=\"$1\"" "$2" '# The Disk Data Base' '#DDB' "${3:-}" > disk.vmdk
}
# works WHAT: the filter and apply take the copy, everything that needs the data says WHAT.
works () {
    filter_sees A file lun.img delta=disk-000002.vmdk
    silent
    fresh lun.img target.img
    "$TOOL" apply --quiet disk-000002.vmdk target.img
    same lun.img target.img
    refused disk.vmdk
    says "$1"
    refused disk-000002.vmdk
    says "$1"
    expect_fail "$1" "$TOOL" merge disk-000002.vmdk
    expect_fail "$1" "$TOOL" check disk.vmdk
    expect_fail "$1" "$TOOL" compact disk.vmdk
    expect_fail "$1" "$TOOL" create --from=disk-000001.vmdk --to=disk-000002.vmdk new.vmdk
    "$TOOL" info disk.vmdk > out || [ $? = 1 ]
    grep -q "$1" out || { cat out; fail 'info does not say it'; }
    grep -Eq '64 KiB' out || { cat out; fail 'info does not say the size'; }
    # The CID is compared.
    (cid=9 describe "${last[@]}"; filter_refused file lun.img delta=disk-000002.vmdk; says 'CID')
}
elsewhere () { last=("${@:2}"); describe "${@:2}"; works "$1"; }

elsewhere 'raw device mapping' vmfsRawDeviceMap 'RW 128 VMFSRDM "disk-rdm.vmdk"'
elsewhere 'raw device mapping' vmfsPassthroughRawDeviceMap 'RW 128 VMFSRDM "disk-rdmp.vmdk"'
elsewhere 'vSAN object' vsanSparse 'RW 128 VSANSPARSE "vsan://d8f1-02"'
elsewhere "extent type 'VVOL' is not supported" custom 'RW 128 VVOL "vvol://x"'
elsewhere 'the disk is encrypted' vmfs 'RW 128 VMFS "disk-flat.vmdk"' 'encryption.keySafe = "vmware:key"'
elsewhere 'the disk is encrypted' vmfs 'RW 128 VMFS "disk-flat.vmdk"' 'ddb.iofilters = "vmwarevmcrypt"'
native=yes
elsewhere 'isNativeSnapshot is' vmfs 'RW 128 VMFS "disk-flat.vmdk"'
native=

# Devices of another machine, and objects of a datastore.
elsewhere "'/dev/sda', a device of the machine where this disk was used: image the device there" \
    fullDevice 'RW 128 FLAT "/dev/sda" 0'
! grep -q unconfined out || { cat out; fail 'it is advised to follow the name'; }
elsewhere "PhysicalDrive2', a device of the machine" fullDevice 'RW 128 FLAT "\\.\PhysicalDrive2" 0'
elsewhere 'an object of a datastore' vmfs 'RW 128 VMFS "vvol://rfc4122.1/x.vmdk"'
