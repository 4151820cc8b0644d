#!/bin/bash
# Get a Linux kernel for the guest of the tests with a virtual machine, without
# installing it: the kernel and a few of its modules are taken out of Debian's package
# for clouds, and kept in $VM_KERNEL_CACHE (default /var/tmp/vmdkdelta-vm-kernel).
#
#   scripts/vm-kernel.sh
#
# Needs apt-get and dpkg-deb (Debian, Ubuntu), but no root.  Elsewhere set VM_KERNEL (a
# vmlinuz) and VM_MODULES (its directory below /lib/modules) instead.
set -euo pipefail
to=${VM_KERNEL_CACHE:-/var/tmp/vmdkdelta-vm-kernel}
if compgen -G "$to/boot/vmlinuz-*" > /dev/null; then
    echo "vm-kernel: $(echo "$to"/boot/vmlinuz-*) is there"
    exit 0
fi
command -v dpkg-deb > /dev/null || { echo 'vm-kernel: dpkg-deb is missing' >&2; exit 1; }
# The meta package depends on the newest one.
package=
for meta in linux-image-cloud-amd64 linux-image-virtual; do
    package=$(apt-cache depends --important "$meta" 2>/dev/null |
        sed -n 's/^ *Depends: \(linux-image-[^<> ]*\)$/\1/p' | head -n 1)
    [ -z "$package" ] || break
done
[ "$package" ] || { echo 'vm-kernel: no package is known; run apt-get update' >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
(cd "$work" && apt-get -q download "$package")
mkdir "$work/x"
# The kernel and the drivers of a virtio disk; the newest releases have all below usr/.
dpkg-deb --fsys-tarfile "$work"/*.deb |
    tar -C "$work/x" -x --wildcards '*/vmlinuz-*' '*/virtio*.ko*'
mkdir -p "$to/boot" "$to/lib"
find "$work/x" -name 'vmlinuz-*' -exec cp {} "$to/boot/" ';'
find "$work/x" -path '*/lib/modules' -exec cp -r {} "$to/lib/" ';'
echo "vm-kernel: $(echo "$to"/boot/vmlinuz-*)"
