#!/bin/bash
# Real images are clean, and their chains too, but for those known to be broken.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/samples.sh"
need tool xz

clean=0
shopt -s nullglob

check_sample () {
    local file want chain status
    for file in *.vmdk *.vdi; do
        case $file in *-flat.vmdk|*-f[0-9][0-9][0-9].vmdk) continue ;; esac
        want=0 chain=--chain
        case $name/$file in
            vb-neg-modified-vdi/diff1.vdi) chain= ;;            # its parent was changed
            found-qemu-afl9/*) want=3 ;;                        # text-mode transfer
            found-govmomi-ttylinux/*) want=3 ;;                 # no footer
            q72-neg-cid/over*) want=3 ;;                        # CIDs that do not fit
            # extents and pieces alone
            *-delta.vmdk|*-sesparse.vmdk|*-s[0-9][0-9][0-9].vmdk) chain= ;;
            # the parent is not among the files
            found-esxi-sesparse/*|found-myvar-*) chain= ;;
        esac
        # VDDK gives the pieces of a split child an empty descriptor.
        case $name/$file in fc-vddk-*/*-s[0-9][0-9][0-9].vmdk) continue ;; esac
        status=0
        "$TOOL" check $chain "$file" > out 2>&1 || status=$?
        [ $status -eq $want ] || { cat out; fail "$file: status $status, expected $want"; }
        # VirtualBox left some of its VMDK children marked as open.  That newer links lie
        # beside one is said, and is no fault.
        if sed -e '/^  warning: unclean /d' -e '/warning: .* is not the newest state of its disk/d' out | grep -q -e 'error:' -e 'warning:' && [ $want -eq 0 ]; then
            cat out; fail "$file: not clean"
        fi
        clean=$((clean + (want == 0)))
    done
}

each_sample check_sample
[ $clean -gt 0 ] || fail "no samples in $data"
echo "$clean files are clean"
