# shellcheck shell=bash
# A VMware machine: two disks, three snapshots in two branches.  Needs the functions of
# test-chain-disks.sh.
#
#   scsi0:0   sys.vmdk (A) <- sys-000001.vmdk <- sys-000002.vmdk, in use
#                          <- sys-000003.vmdk (a branch)
#   nvme0:1   data.vmdk (B), independent: in use

# written FILE CID PARENT LETTER: a snapshot in which all was written.
written () {
    child "$1" "$2" "$(sed -n 's/^CID=//p' "${1%/*}/$3")" "$(hint "$3")"
    letters "$4" > "$T/letters"
    nbdkit "$PLUGIN" write=true "$1" --run "nbdcopy '$T/letters' \"\$uri\""
}

# The CIDs have eight digits: a write draws a new one with as many, and of two there are few.

# snapshot K UID PARENT NAME HIGH LOW FILE: lines of the .vmsd.
snapshot () {
    printf 'snapshot%s.uid = "%s"\n' "$1" "$2"
    [ -z "$3" ] || printf 'snapshot%s.parent = "%s"\n' "$1" "$3"
    printf "snapshot$1.%s = \"%s\"\n" displayName "$4" createTimeHigh "$5" createTimeLow "$6" \
        numDisks 1 disk0.fileName "$7" disk0.node scsi0:0
}

make_vmware () {  # DIR
    mkdir "$1"
    base "$1/sys.vmdk" 1234a000 A
    written "$1/sys-000001.vmdk" 1234a001 sys.vmdk C
    written "$1/sys-000002.vmdk" 1234a002 sys-000001.vmdk D
    written "$1/sys-000003.vmdk" 1234a003 sys.vmdk E
    base "$1/data.vmdk" 1234b000 B
    cat > "$1/vm.vmx" <<'X'
#!/usr/bin/vmware
.encoding = "UTF-8"
displayName = "The |22old|22 server"
guestOS = "debian12-64"
scsi0.present = "TRUE"
SCSI0:0.Present = "TRUE"
SCSI0:0.FileName = "sys-000002.vmdk"
scsi0:0.deviceType = "scsi-hardDisk"
scsi0:0.ctkEnabled = "TRUE"
nvme0:1.fileName = "data.vmdk"
nvme0:1.mode = "independent-persistent"
ide1:0.deviceType = "cdrom-image"
ide1:0.fileName = "/vmfs/volumes/iso/x.iso"
X
    {
        printf '.encoding = "UTF-8"\nsnapshot.lastUID = "3"\nsnapshot.numSnapshots = "3"\n'
        snapshot 0 1 '' 'before update' 338221 -1063257960 sys.vmdk
        snapshot 1 2 1 after 338221 -1063257000 sys-000001.vmdk
        snapshot 2 3 1 'Tom & Ann' x y sys-000003.vmdk
    } > "$1/vm.vmsd"
}
