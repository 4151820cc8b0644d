#!/bin/bash
# Make a small guest: base.img, the disk as it was copied from the old host, and
# new.img, the disk as the guest left it there.
#
#   tests/vm/guest.sh KERNEL MODULES-DIR OUT-DIR [MORE-MIB]
#
# The disk boots by itself: partition 1 has SYSLINUX, kernel and initramfs, partition 2
# an ext4 root file system with a static busybox.  In new.img are changed: the
# configuration of the boot loader, and files that are edited, new, large, deleted.
# MORE-MIB puts a file of noise of that size beside them, so that there is more to copy;
# an eighth of it differs.
#
# Needs no root.  Needs busybox (static), mke2fs, debugfs, mtools, syslinux.
set -euo pipefail

kernel=$1 modules=$2 out=$3 more=${4:-0}
here=$(cd "$(dirname "$0")" && pwd)
PATH=$PATH:/usr/sbin:/sbin
busybox=$(command -v busybox)
mib=$((1 << 20))
cd "$out"

# ---- The initramfs: a busybox and the drivers of a virtio disk ------------------

mkdir -p initramfs/bin
cp "$busybox" initramfs/bin/busybox
ln -s busybox initramfs/bin/sh
mkdir initramfs/sys
install -m 755 "$here/initramfs-init" initramfs/init
for m in virtio virtio_ring virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk; do
    file=$(find "$modules" -name "$m.ko*" | head -n 1)
    case $file in
        '') continue ;;  # it is in the kernel
        *.xz) xz -dc "$file" > "initramfs/$m.ko" ;;
        *.zst) zstd -qdc "$file" > "initramfs/$m.ko" ;;
        *) cp "$file" "initramfs/$m.ko" ;;
    esac
done
(cd initramfs && find . | busybox cpio -o -H newc 2>/dev/null) | gzip -1 > initrd.gz

# ---- Its root file system ------------------------------------------------------

mkdir -p tree/bin tree/sbin tree/proc tree/dev tree/sys
cp "$busybox" tree/bin/busybox
for c in sh mount grep cut cat sha256sum seq sync rm dd reboot stty; do ln -s busybox "tree/bin/$c"; done
install -m 755 "$here/init" tree/sbin/init
seq 1 300000 > tree/same.bin
echo 'as the base has it' > tree/edited.txt
echo 'only in the base' > tree/deleted.txt
seq 300000 -1 1 > tree/large.bin
[ "$more" -eq 0 ] || head -c $((more * mib)) /dev/urandom > tree/more.bin

# ---- The disk --------------------------------------------------------------------

boot=$((40 * mib)) root=$(((64 + more + more / 16) * mib))
sector () { printf '\\x%02x\\x%02x\\x%02x\\x%02x' $(($1 & 255)) $(($1 >> 8 & 255)) $(($1 >> 16 & 255)) $(($1 >> 24)); }
truncate -s $((mib + boot + root)) base.img
for mbr in /usr/lib/SYSLINUX/mbr.bin /usr/lib/syslinux/mbr/mbr.bin /usr/share/syslinux/mbr.bin; do
    [ ! -e $mbr ] || break
done
dd if=$mbr of=base.img conv=notrunc status=none
# Two entries: active, FAT16; Linux.
printf "\\x80\\0\\0\\0\\x0e\\0\\0\\0$(sector $((mib / 512)))$(sector $((boot / 512)))\\0\\0\\0\\0\\x83\\0\\0\\0$(sector $(((mib + boot) / 512)))$(sector $((root / 512)))" |
    dd of=base.img bs=1 seek=446 conv=notrunc status=none
printf '\x55\xaa' | dd of=base.img bs=1 seek=510 conv=notrunc status=none

truncate -s $boot fat
export MTOOLS_SKIP_CHECK=1
mformat -i fat -H $((mib / 512)) ::
mcopy -i fat "$kernel" ::vmlinuz
mcopy -i fat initrd.gz ::initrd.gz
config () { printf 'default linux\nprompt 0\nlabel linux\n  kernel vmlinuz\n  append initrd=initrd.gz console=ttyS0 quiet panic=-1 disk=%s\n' "$1"; }
config base > syslinux.cfg
mcopy -i fat syslinux.cfg ::syslinux.cfg
syslinux --install fat
dd if=fat of=base.img bs=1M seek=1 conv=notrunc,sparse status=none

truncate -s $root ext4
mke2fs -q -F -t ext4 -O ^metadata_csum_seed -L guest -d tree ext4
dd if=ext4 of=base.img bs=1M seek=$((1 + boot / mib)) conv=notrunc,sparse status=none

# ---- What the guest changed on the old host ----------------------------------------

cp --sparse=always base.img new.img
config delta > syslinux.cfg
mdel -i new.img@@$mib ::syslinux.cfg
mcopy -i new.img@@$mib syslinux.cfg ::syslinux.cfg
echo 'as the delta has it' > edited.txt
echo 'only in the delta' > new.txt
seq 1 7 2000000 > large.bin
head -c $((more * mib / 8)) /dev/urandom > more.bin
debugfs -w -f /dev/stdin "new.img?offset=$((mib + boot))" > debugfs.log 2>&1 <<END
rm /edited.txt
write edited.txt edited.txt
write new.txt new.txt
rm /large.bin
write large.bin large.bin
rm /deleted.txt
END
if [ "$more" -gt 0 ]; then
    debugfs -w -f /dev/stdin "new.img?offset=$((mib + boot))" >> debugfs.log 2>&1 <<END
rm /more.bin
write more.bin more.bin
END
fi

# What the guest must find.
sha256sum < tree/same.bin | sed "s# .*# /same.bin#" > sums
for f in edited.txt new.txt large.bin; do sha256sum < $f | sed "s# .*# /$f#"; done >> sums
awk '{ print $2, $1 }' sums > expected
echo '/deleted.txt missing' >> expected
rm -rf initramfs tree fat ext4 initrd.gz syslinux.cfg edited.txt new.txt large.bin more.bin sums
