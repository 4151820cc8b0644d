#!/bin/bash
# docs/recipes.md and docs/migrate.md: their commands that can run here make the right disk, the VHD has the
# right size, the XML is valid, and OneSwap's command works and refuses as the pages say.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/doc.sh"

make_files
installed

not_run () {
    case $1 in
        *' /run/vm1.sock'*|*/var/lib/libvirt/*) echo 'is for the directories of libvirt' ;;
        *) return 1 ;;
    esac
}
check () {
    case $1 in
        *out.vhd*)
            qemu-img convert -f vpc -O raw out.vhd out.raw
            same out.raw x.expected
            rm out.vhd ;;
        'qemu-img create '*)
            qemu-img compare -f raw -F qcow2 x.expected overlay.qcow2
            rm overlay.qcow2 ;;
        'vmdkdelta check '*) grep -q '^disk-000001.vmdk: clean' log ;;
        'vmdkdelta info '*) grep -q 'found, its CID fits' log ;;
        'vmdkdelta sync '*) same vm1.img 1.expected ;;
        *) [ -e served.raw ] && same served.raw x.expected ;;
    esac
}
run_examples "$top_srcdir"/docs/{recipes,migrate}.md
[ $ran -ge 7 ] || fail "only $ran examples were run"
[ $others -ge 14 ] || fail "only $others recipes that cannot run here were found"

# It would be noticed.
for bad in 'nbdkit --filter=vmdkdelta ssh user@host:/vm/base.img delta=x.vmdk' \
           'nbdkit -U /run/x --filter=vmdkdelta file base.img delta-no-such=x.vmdk' \
           'virt-v2v -i disk x --no-such' 'xe vdi-import uuid=1 file=x' 'qm importdisk 100 x local --no-such' \
           'STATE=/x examples/migrate-live.sh base.img x.vmdk' 'install -m 755 examples/none /usr/local/bin' \
           'virsh blockcopy "vm1'; do
    case $bad in *' ssh '*) (need nbdkit:plugin:ssh) > /dev/null || continue ;; esac
    if (parses "$bad") > bad.log 2>&1; then fail "taken as right: $bad"; fi
done

# What the page shows of an example is in it.
for f in cow overlay; do [ -s "$top_srcdir/examples/libvirt-$f.xml" ] || fail "libvirt-$f.xml"; done
sed -n '/^```xml/,/^```/p' "$top_srcdir/docs/recipes.md" | grep -v '^```' | sed 's/^/    /' > shown
awk '/<disk /,/<\/disk>/' "$top_srcdir/examples/libvirt-cow.xml" | diff shown - || fail 'the XML of the page is not that of the example'
if command -v virt-xml-validate > /dev/null; then
    for f in "$top_srcdir"/examples/libvirt-*.xml; do
        virt-xml-validate "$f" domain || fail "${f##*/}"
        # A machine of another kind is not valid: the test can fail.
        sed 's/<target /<goal /' "$f" > bad.xml
        expect_fail 'fails to validate' virt-xml-validate bad.xml domain
    done
else
    echo 'not here: virt-xml-validate'
fi

# OneSwap: as its esxi_client.rb calls it.
ln -s "$top_srcdir/examples/oneswap-sesparse" bin/sesparse
"$MKIMAGE" make sesparse s-sesparse.vmdk --capacity=$size --fill=20 --runs=9 --layer=4 \
    --descriptor=s.vmdk --parent=disk.vmdk --cid=0000000a --parent-cid=00000001
qemu-img convert -f vmdk -O raw s.vmdk s.expected
cp base.expected raw
sesparse s-sesparse.vmdk raw
same raw s.expected
# Cut, or over a disk that is too small: nothing is changed.
cp base.expected raw
head -c $(($(stat -c %s s-sesparse.vmdk) - 70000)) s-sesparse.vmdk > cut-sesparse.vmdk
expect_fail 'truncated|the file ends' sesparse cut-sesparse.vmdk raw
same raw base.expected
truncate -s $((size / 2)) raw
sha256sum raw > raw.sum
expect_fail 'nothing was written' sesparse s-sesparse.vmdk raw
sha256sum --quiet -c raw.sum
