#!/bin/bash
# Clients: libguestfs lists and reads the files of the merged disk, through the filter
# and through the plugin.  It starts a small virtual machine of its own each time.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need filter plugin tool guestfish mke2fs debugfs
# Emulated: the processor's help is not to be had, or not to be trusted, in many places.
export LIBGUESTFS_BACKEND=direct LIBGUESTFS_BACKEND_SETTINGS=force_tcg
guestfish -a /dev/null run > log 2>&1 || { cat log; skip 'libguestfs cannot start its appliance here'; }

mkdir tree
seq 1 100000 > tree/same.txt
echo base > tree/edited.txt
truncate -s 32M base.img
mke2fs -q -F -t ext4 -d tree base.img
cp base.img new.img
echo delta > edited.txt
seq 1 3 300000 > new.txt
debugfs -w -f /dev/stdin new.img > debugfs.log 2>&1 <<'END'
rm /edited.txt
write edited.txt edited.txt
write new.txt new.txt
END
# The base as a VMDK too, for the plugin.
printf '# Disk DescriptorFile\nversion=1\nCID=00000007\nparentCID=ffffffff\ncreateType="vmfs"\nRW 65536 VMFS "base.img"\n' > disk.vmdk
"$TOOL" create --from disk.vmdk --to new.img x.vmdk > create.log

read_it () {
    guestfish --ro --format=raw -a "nbd://?socket=$sock" -m /dev/sda <<END
find /
-cat /edited.txt
checksum sha256 /same.txt
checksum sha256 /new.txt
END
}
for server in filter plugin; do
    case $server in
        filter) serve file base.img delta=x.vmdk ;;
        plugin) start "$PLUGIN" x.vmdk ;;
    esac
    read_it > found
    grep -qx delta found || { cat found; fail "$server: edited.txt"; }
    grep -qx new.txt found || { cat found; fail "$server: new.txt"; }
    grep -q "$(sha256 tree/same.txt)" found || { cat found; fail "$server: same.txt"; }
    grep -q "$(sha256 new.txt)" found || { cat found; fail "$server: new.txt"; }
    stop
done
