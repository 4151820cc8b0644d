#!/bin/bash
# What docs/comparison.md says about us must be so; what it says about qemu-img is
# printed, and must be so with the version that it names (7.2.22).  Every test that it
# names exists.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/drive/fixture.sh"
need filter plugin tool mkimage qemu-img qemu-io nbdcopy xz tar

version=$(qemu-img --version | sed -n 's/^qemu-img version \([0-9.]*\).*/\1/p')
# qemu refused|works CASE ARGS...
qemu () {
    local want=$1 what=$2 status=0 got=works
    shift 2
    qemu-img "$@" > qemu.log 2>&1 || { status=$?; got=refused; }
    echo "qemu-img $version: $what: $got ($(tail -n 1 qemu.log))"
    [ "$version" != 7.2.22 ] || [ $got = "$want" ] || fail "docs/comparison.md says something else: $what"
}

base
printf '# Disk DescriptorFile\nversion=1\nCID=01234567\nparentCID=ffffffff\ncreateType="vmfs"\nRW 8192 VMFS "base.raw"\n' > disk.vmdk

delta x cowd --parent=base.raw
cp base.raw expected.raw
overlay expected.raw x.raw
qemu refused 'a delta over a raw disk' convert -O raw x.vmdk q.raw
nbdkit_run file base.raw delta=x.vmdk delta-follow=false --run 'nbdcopy "$uri" out.raw'
same expected.raw out.raw
qemu refused 'a bare COWD extent' convert -f vmdk -O raw x-cowd.vmdk q.raw
nbdkit_run file base.raw delta=x-cowd.vmdk --run 'nbdcopy "$uri" out.raw'
same expected.raw out.raw

delta s sesparse --parent=disk.vmdk
cp base.raw expected.raw
overlay expected.raw s.raw
qemu works 'SEsparse' convert -O raw s.vmdk q.raw
qemu works 'a bare SEsparse extent, as a raw disk' convert -O raw s-sesparse.vmdk q.raw
[ "$version" != 7.2.22 ] || same s-sesparse.vmdk q.raw
qemu refused 'SEsparse, committed' commit s.vmdk
poke s-sesparse.vmdk 48 00 02
qemu refused 'SEsparse with 0x200' convert -O raw s.vmdk q.raw
nbdkit_run file base.raw delta=s.vmdk --run 'nbdcopy "$uri" out.raw'
same expected.raw out.raw

delta c cowd --parent=disk.vmdk --parent-cid=07654321
qemu refused 'another CID' convert -O raw c.vmdk q.raw
expect_fail 'was made on content 07654321' nbdkit "$PLUGIN" c.vmdk

tar -xf "$top_srcdir/tests/data/vb-vdi-tiny-2.tar.xz"
vdi=$(dirname "$(find . -name diff2.vdi)")
qemu refused 'a differencing VDI' convert -O raw "$vdi/diff2.vdi" q.raw
nbdkit "$PLUGIN" "$vdi/diff2.vdi" --run 'nbdcopy "$uri" out.raw'

# Several links merged at once by commit; the difference of two disks by rebase.
qemu-img create -q -f vmdk base.vmdk 4M
qemu-io -f vmdk -c 'write -q -P 1 0 4M' base.vmdk
for n in 1 2; do
    qemu-img create -q -f vmdk -F vmdk -b "$([ $n = 1 ] && echo base || echo d1).vmdk" d$n.vmdk
    qemu-io -f vmdk -c "write -q -P $((n + 1)) ${n}M 1M" d$n.vmdk
done
qemu-img convert -O raw d2.vmdk expected.raw
qemu-img convert -O raw base.vmdk old.raw
qemu-img create -q -f vmdk -F vmdk -b d2.vmdk diff.vmdk
qemu refused 'a VMDK delta of two disks' rebase -f vmdk -F vmdk -b base.vmdk diff.vmdk
qemu-img create -q -f qcow2 -F raw -b expected.raw diff.qcow2
qemu works 'a qcow2 delta of two disks' rebase -f qcow2 -F raw -b old.raw diff.qcow2
qemu works 'two links, committed' commit -b base.vmdk d2.vmdk
if [ "$version" = 7.2.22 ]; then
    qemu-img convert -O raw base.vmdk q.raw
    same expected.raw q.raw
    [ -e d1.vmdk ] || fail 'the merged file does not stay'
    expect_fail 'was made on content' "$TOOL" info --chain d1.vmdk
fi

# The tests that it names.
grep -oE '`(test-[a-z-]*|-[a-z]*-)`' "$top_srcdir/docs/comparison.md" | tr -d '\`' > names
while read -r name; do
    case $name in -*) name=test-filter${name}base ;; esac
    [ -f "$top_srcdir/tests/$name.sh" ] || fail "there is no $name"
done < names
[ "$(wc -l < names)" -ge 10 ] || fail 'it names no tests'
