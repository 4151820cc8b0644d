#!/bin/bash
# The examples in README.md, in the manual pages of filter and plugin, and in pages that no
# other test runs, work as they are written: what they make must be the disk that QEMU reads from the same files.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/doc.sh"

make_files
installed

not_run () { false; }

# check EXAMPLE: what it made must be right.
check () {
    local expected=x.expected made=
    case $1 in
        *--filter=partition*disk-000002.vmdk*) expected=2.partition.expected ;;
        *--filter=partition*) expected=x.partition.expected ;;
        *'scsi0:0@'*) expected=1.expected ;;
        *vm.vmx*|*disk-000002.vmdk*) expected=2.expected ;;
        *disk-000001.vmdk*) expected=1.expected ;;
        *clone.vmdk*) expected=clone.expected ;;
        *machine.vbox*|*disk0@*) expected=machine.expected ;;
    esac
    for f in out.raw served.raw; do
        [ ! -e $f ] || { same $f $expected; made=1; }
    done
    [ ! -e out.qcow2 ] || { qemu-img compare -f raw -F qcow2 $expected out.qcow2; made=1; }
    case $1 in
        *-D*vmdkdelta.map=1*) grep -q 'map: 2097152+65536 data layer 0 .*/x.vmdk at ' log ;;
        *-D*vmdk.map=1*) grep -q 'data layer 0 .*/disk-000002-delta.vmdk at ' log &&
                         grep -q 'data layer 2 .*/disk-flat.vmdk at ' log ;;
        *' dir='*|*'nbdinfo --list'*) [ "$(grep -c '^export="disk' log)" = 3 ] ;;
        *nbdinfo*) grep -q data log ;;
        *null:*) ;;
        'vmdkdelta info --chain '*) grep -q '^disk-000002.vmdk .* ok' log && grep -q '^disk.vmdk .* ok' log ;;
        'vmdkdelta info machine.vbox'*) grep -q '^  before-update  *2026-11-21T19:30:47Z' log ;;
        'vmdkdelta info vm.vmx'*) grep -q '^  before update ' log ;;
        'vmdkdelta info '*) grep -q 'found, its CID fits' log ;;
        'vmdkdelta check --chain '*) grep -q 'chain of 3 links: clean' log ;;
        'vmdkdelta check '*) grep -q '^x.vmdk: clean' log ;;
        *--picture=disk.svg*) grep -q '</svg>' disk.svg ;;
        'vmdkdelta map --picture '*) grep -q ' disk-000001.vmdk$' log ;;
        'vmdkdelta compact --dry-run '*) grep -q '^zeros .*would be given back' log ;;
        'vmdkdelta compact '*) [ "$(stat -c %s machine.vdi)" -lt 3000000 ] &&
            qemu-img compare -f vdi -F raw machine.vdi machine.expected ;;
        'vmdkdelta apply --dry-run '*) grep -q 'nothing was written' log ;;
        'vmdkdelta apply back.vmdk '*) same base.img base.expected ;;
        'vmdkdelta apply '*) same base.img x.expected ;;
        'vmdkdelta sync --final '*) same vm1.img 2.expected ;;
        'vmdkdelta sync '*) same vm1.img 1.expected ;;
        'vmdkdelta create '*) [ -s change.vmdk ] ;;
        'vmdkdelta merge '*) merged "$1" && original ;;
        *) [ "$made" ] || fail 'it made nothing that this test knows' ;;
    esac
}
# "apply" changes base.img, until the last of its three lines takes that back.
keeps () { [[ $1 = 'vmdkdelta apply --undo='* ]]; }

run_examples "$top_srcdir"/README.md "$top_srcdir"/docs/{nbdkit-*.pod,vboxmerge.md,troubleshooting.md}
[ $ran -ge 40 ] || fail "only $ran examples were found and run"
echo "$ran examples run"
