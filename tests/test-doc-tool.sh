#!/bin/bash
# The examples in vmdkdelta(1) and in the page and the --help of each verb end with
# status 0.  What they print is for other tests.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/doc.sh"

make_files
installed

# The names that the help of apply and check uses, and their bases.
cp disk-flat.vmdk vm-flat.vmdk
descriptor vm.vmdk vm-flat.vmdk
qemu-img create -q -f vmdk -F vmdk -b vm.vmdk vm-000001.vmdk
qemu-io -f vmdk -c 'write -q -P 0x58 2M 64k' vm-000001.vmdk
qemu-img create -q -f vmdk -F vmdk -b vm-000001.vmdk vm-000002.vmdk
# A disk written twice by QEMU.
qemu-img create -q -f vmdk -F vmdk -b disk.vmdk old.vmdk
qemu-io -f vmdk -c 'write -q -P 1 1M 64k' old.vmdk
qemu-img create -q -f vmdk -F vmdk -b old.vmdk new.vmdk
qemu-io -f vmdk -c 'write -q -P 2 3M 64k' new.vmdk
cp disk-000002.vmdk disk-000003.vmdk
# A VMware machine with two disks, each with a snapshot.
(
    cd vm
    cp disk-flat.vmdk data-flat.vmdk
    descriptor data.vmdk data-flat.vmdk
    qemu-img create -q -f vmdk -F vmdk -b data.vmdk data-000001.vmdk
    printf 'scsi0:0.fileName = "disk-000002.vmdk"\nnvme0:1.fileName = "data-000001.vmdk"\n' > vm.vmx
    cp -p -- data*.vmdk vm.vmx ../original/vm/
)
remember -- *.vmdk base.img machine.vdi vm/vm.vbox vm/*/*.vdi
cp -p -- *.vmdk original/

# not_run EXAMPLE: what needs something that this directory does not have.
not_run () {
    local word
    for word in $1; do
        case $word in
            nbd://*|nbd+unix://*) echo 'needs an NBD server'; return ;;
            /*|--parent-path=/*) echo "needs $word"; return ;;
        esac
    done
    return 1
}
check () {
    case $1 in 'vmdkdelta merge '*) merged "$1" ;; esac
}
# What they wrote is made as it was.
keeps () {
    case $1 in *'vmdkdelta apply '*|*'vmdkdelta create '*|*'vmdkdelta compact '*|*'vmdkdelta merge '*|*'vmdkdelta snapshot '*) original ;; esac
    rm -f disk-000004.vmdk today.vdi sys.img* data.img*      # made by snapshot and sync
    unchanged
}

verbs=$("$TOOL" --verbs)
[[ $verbs = *merge* ]] || fail "which verbs are there? $verbs"
for verb in '' $verbs; do
    # shellcheck disable=SC2086
    "$TOOL" $verb --help > "help${verb:+-$verb}"
done
run_examples "$top_srcdir"/docs/vmdkdelta*.pod help*
[ $ran -ge 45 ] || fail "only $ran examples were found and run"
echo "$ran examples run"
