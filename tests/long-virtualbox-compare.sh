#!/bin/bash
# What docs/comparison.md says of VirtualBox is so: what it reads, and what it says of
# files that are damaged or not its own.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/samples.sh"
. "$top_srcdir/tests/virtualbox.sh"
need plugin qemu-io nbdcopy xz

# clone FILE: what VirtualBox reads, as out.raw; its status, and log.
clone () {
    local status=0
    rm -f "$T/out.raw"
    VBoxManage clonemedium disk "$PWD/$1" "$T/out.raw" --format RAW > "$T/log" 2>&1 || status=$?
    VBoxManage closemedium disk "$T/out.raw" > /dev/null 2>&1 || :
    return $status
}
refused () {  # FILE WHY
    ! clone "$1" || fail "$1: VirtualBox reads it"
    grep -q "$2" "$T/log" || { cat "$T/log"; fail "$1: refused, but not because of $2"; }
    echo "$1: refused: $2"
}

check_sample () {
    local file
    case $name in
        fc-esxi-flat-cowd-3) refused vmfs_thick-000001.vmdk VERR_NOT_SUPPORTED ;;
        found-esxi-sesparse-over-flat) refused vm-000001.vmdk VERR_NOT_SUPPORTED ;;
        vb-vdi-tiny-2)
            for file in base.vdi diff1.vdi diff2.vdi; do
                clone $file || { cat "$T/log"; fail "$file: VirtualBox does not read it"; }
            done
            [ "$(sha256 "$T/out.raw")" = "$(cut -d ' ' -f 1 expected.raw.sha256)" ] || fail "$file: other bytes" ;;
        vb-neg-modified-vdi)  # the parent was written to after the child was made
            clone base.vdi || { cat "$T/log"; fail 'base.vdi: VirtualBox does not read it'; }
            clone diff1.vdi || { cat "$T/log"; fail 'diff1.vdi: VirtualBox refuses it now'; }
            ! grep -iE 'warning|error|modif' "$T/log" || fail 'VirtualBox says something now'
            echo 'changed parent: read, without a word' ;;
        q72-zeroed-4)  # children of QEMU's, which VMware would read too
            refused over1.vmdk 'detected invalid'
            refused over2.vmdk 'detected invalid'
            clone over3.vmdk || { cat "$T/log"; fail 'over3.vmdk: VirtualBox refuses it now'; }
            start "$PLUGIN" file=over3.vmdk
            nbdcopy "$uri" "$T/ours.raw"
            stop
            ! cmp -s "$T/ours.raw" "$T/out.raw" || fail 'over3.vmdk: VirtualBox reads the right bytes now'
            echo 'over3.vmdk: other bytes, status 0' ;;
    esac
}
each_sample check_sample 'fc-esxi-flat-cowd-3' 'found-esxi-sesparse-over-flat' 'vb-vdi-tiny-2' \
    'vb-neg-modified-vdi' 'q72-zeroed-4'

# A child that is cut, VDI and VMDK.
head -c 8M /dev/urandom > base.raw
for format in VDI VMDK; do
    e=$(tr '[:upper:]' '[:lower:]' <<< $format)
    VBoxManage convertfromraw base.raw base.$e --format $format > log 2>&1 || { cat log; fail convertfromraw; }
    VBoxManage createmedium disk --filename "$T/child.$e" --diffparent "$T/base.$e" --format $format > log 2>&1 ||
        { cat log; fail createmedium; }
done
qemu-io -f vmdk -c 'write -q -P 65 1M 1M' child.vmdk > /dev/null
VBoxManage mediumio "--disk=$T/child.vdi" formatfat --quick > log 2>&1 || { cat log; fail mediumio; }
for file in child.vdi child.vmdk; do
    clone $file || { cat log; fail "$file: VirtualBox does not read it"; }
    truncate -s $(($(stat -c %s $file) - 65536 * 4)) $file
    refused $file VERR_
done

# Only VDI is compacted.
! VBoxManage modifymedium disk "$T/base.vmdk" --compact > log 2>&1 || fail 'VirtualBox compacts VMDK now'
grep -q 'not implemented' log || { cat log; fail 'compact'; }
VBoxManage modifymedium disk "$T/base.vdi" --compact > log 2>&1 || { cat log; fail 'VirtualBox does not compact VDI'; }
echo "VirtualBox $(VBoxManage --version)"
