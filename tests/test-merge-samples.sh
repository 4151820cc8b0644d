#!/bin/bash
# Chains that VMware, VirtualBox, QEMU and others made, merged with every choice of
# --skip and --count; what stays reads as before, and QEMU finds nothing wrong.
#
# VMDKDELTA_SAMPLES=DIR takes all archives of that directory.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/merge.sh"
need tool plugin xz nbdcopy qemu-img

if [ "${VMDKDELTA_SAMPLES:-}" ]; then
    names=$(cd "$VMDKDELTA_SAMPLES"; ls -- *.tar.xz)
else
    names='q72-zeroed-4 q72-tiny-65024 fc-esxi-flat-cowd-3 fc-vddk-split-q-2 vb-neg-modified-vdi q72-neg-cid'
fi
merges=0

# What QEMU says of a base that it can read.
check_qemu () {
    local format=${1##*.}
    [ "$format" != vdi ] || [ "$(od -An -tx4 -j 380 -N 4 "$1")" = ' 00000000' ] || return 0
    qemu-img info -f "$format" "$1" > /dev/null 2>&1 || return 0
    qemu-img check -f "$format" "$1" > "$T/check" 2>&1 || grep -q 'does not support checks' "$T/check" ||
        { cat "$T/check" >&2; fail "QEMU finds errors in $1"; }
    qemu-img convert -f "$format" -O raw "$1" "$T/q.raw"
    nbdkit "$PLUGIN" "file=$1" --run 'nbdcopy "$uri" -' 2>/dev/null > "$T/p.raw"
    truncate -s "$(stat -c %s "$T/p.raw")" "$T/q.raw"  # it rounds up
    same "$T/p.raw" "$T/q.raw"
    rm "$T/p.raw" "$T/q.raw"
}

for name in $names; do
    name=${name%.tar.xz}
    case $name in
        q72-neg-cid|vb-neg-modified-vdi)
            mkdir "$T/neg"
            tar -C "$T/neg" -xf "${VMDKDELTA_SAMPLES:-$top_srcdir/tests/data}/$name.tar.xz"
            cd "$T/neg/"*/
            sums=$(sha256sum -- *)
            for file in *1.v* diff*.v* over1.vmdk; do
                [ -e "$file" ] || continue
                expect_fail 'was changed after|has content' "$TOOL" merge "$file"
            done
            [ "$(sha256sum -- *)" = "$sums" ] || fail "$name was changed"
            cd "$T"; rm -rf "$T/neg"
            continue ;;
        # too large to be read whole, trees, and what is no chain
        vb-vmdk-2600g-1|vb-tree|vb-ova|found-*|ov-*|vb-base-*|q72-splitaligned-3) continue ;;
    esac
    unpack "$name"
    n=${#chain[@]}
    for ((skip = 0; skip < n - 1; skip++)); do
        for ((count = 1; count <= n - 1 - skip; count++)); do
            rm -rf "$T/x"; cp -r --sparse=always . "$T/x"
            if [ $((skip + count)) -eq $((n - 1)) ] && grep -aq streamOptimized "${chain[0]}"; then
                expect_fail 'is compressed .*nbdcopy' "$TOOL" merge --skip=$skip --count=$count "$T/x/${chain[-1]}"
                continue
            fi
            "$TOOL" merge --quiet --skip=$skip --count=$count "$T/x/${chain[-1]}"
            check_result "$T/x" $skip $count
            check_qemu "$T/x/${chain[0]}"
            merges=$((merges + 1))
        done
    done
    echo "$name: $n files"
done
[ $merges -gt 10 ] || fail "only $merges merges"
echo "$merges merges"
