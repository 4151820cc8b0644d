#!/bin/bash
# Corruption that other programs that write these formats had in public, tried with ours; QEMU
# reads the results.  (Many threads in one table and one grain: unit/test-disk, and
# test-plugin-write-fio.)
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need plugin tool qemu-img qemu-io nbdcopy

# served ARGUMENT... -- COMMAND...: of qemu-io, through a server.
served () {
    local args=() commands=() c ro=-r
    while [ "$1" != -- ]; do args+=("$1"); shift; done
    shift
    for c; do commands+=(-c "$c"); case $c in write*) ro= ;; esac; done
    nbdkit -U - "$PLUGIN" "${args[@]}" \
        --run "qemu-io -f raw -n $ro $(printf '%q ' "${commands[@]}") \"\$uri\"" > out 2>&1 || fail "$* : $(cat out)"
    ! grep -q 'verification failed\|rror' out || fail "$*: $(cat out)"
}
# by_qemu FORMAT FILE COMMAND...
by_qemu () {
    local fmt=$1 file=$2 commands=() c
    shift 2
    for c; do commands+=(-c "$c"); done
    qemu-io -r -U -f "$fmt" "${commands[@]}" "$file" > out 2>&1 || fail "QEMU, $file: $(cat out)"
    ! grep -q 'verification failed\|rror' out || fail "QEMU reads something else in $file: $(cat out)"
}
full () { qemu-img create -q -f "$1" "$2" "$3"; qemu-io -f "$1" -c "write -P 7 0 $3" "$2" > /dev/null; }

# VirtualBox #850: a block of zeros over data of the parent is zeros in the child, also when it
# is all that is there; and (firecracker #2802) still when the two are merged.
for format in vmdk vdi; do
    mkdir "zeros-$format"; cd "zeros-$format"
    full $format base.$format 4M
    sha256sum base.$format > sum
    head -c 1M /dev/zero > zeros
    served base.$format write-to=child.$format -- 'write -s zeros 1M 1M' 'write -z 2M 1M' flush 'read -P 0 1M 2M' 'read -P 7 0 1M' \
        'read -P 7 3M 1M'
    served child.$format -- 'read -P 7 0 1M' 'read -P 0 1M 2M' 'read -P 7 3M 1M'
    sha256sum -c --quiet sum || fail 'the parent was changed'
    [ $format = vdi ] || by_qemu vmdk child.vmdk 'read -P 7 0 1M' 'read -P 0 1M 2M' 'read -P 7 3M 1M'
    "$TOOL" merge --quiet child.$format > out 2>&1 || fail "merge: $(cat out)"
    by_qemu $format base.$format 'read -P 7 0 1M' 'read -P 0 1M 2M' 'read -P 7 3M 1M'
    cd ..
done
echo 'zeros over data of a parent'

# XenOrchestra #6163: VirtualBox adds lines to a descriptor, and had no room for them.
full vmdk parent.vmdk 1M
served parent.vmdk write-to=slack.vmdk -- 'write -P 1 0 64k'
[ "$(od -An -tu8 -j36 -N8 slack.vmdk)" -ge 20 ] || fail 'less than 20 sectors for the descriptor'
[ "$(dd if=slack.vmdk bs=512 skip="$(($(od -An -tu8 -j28 -N8 slack.vmdk)))" count=20 status=none | tr -d '\0' | wc -c)" -lt 5120 ] ||
    fail 'no room behind the text of the descriptor'

# XenOrchestra's COWD: a grain of zeros, and data behind it in the same table.
head -c 1M /dev/zero | tr '\0' '\7' > raw.img
cp raw.img same.img
"$TOOL" create --quiet --from raw.img --to same.img --base-descriptor=raw.vmdk --format=cowd cowd.vmdk
served cowd.vmdk write=true -- 'write -z 0 512' 'write -P 2 512 512' 'write -P 3 2k 1k' 'read -P 0 0 512' 'read -P 2 512 512' 'read -P 7 1k 1k'
by_qemu vmdk cowd.vmdk 'read -P 0 0 512' 'read -P 2 512 512' 'read -P 7 1k 1k' 'read -P 3 2k 1k' 'read -P 7 3k 64k'
echo 'room behind descriptors; zeros in front of data'

# QEMU b1649fae: one write across the border of two extents.
qemu-img create -q -f vmdk -o subformat=twoGbMaxExtentSparse split.vmdk 2100M
border=$((2048 << 20))
served split.vmdk write=true -- "write -P 4 $((border - 100000)) 200000" "write -z $((border - 512)) 1024"
by_qemu vmdk split.vmdk "read -P 4 $((border - 100000)) $((100000 - 512))" "read -P 0 $((border - 512)) 1024" \
    "read -P 4 $((border + 512)) $((100000 - 512))" "read -P 0 $((border + 100000)) 64k"
# QEMU 14ead646: a zeroed grain that is read, then overwritten in part.
qemu-img create -q -f vmdk -o zeroed_grain=on zeroed.vmdk 1M
qemu-io -f vmdk -c 'write -P 5 0 1M' zeroed.vmdk > /dev/null
served zeroed.vmdk write=true -- 'write -z 64k 64k' 'read -P 0 64k 64k' 'write -P 6 70k 512' 'read -P 0 64k 6k' \
    'read -P 6 70k 512' 'read -P 5 128k 64k'
by_qemu vmdk zeroed.vmdk 'read -P 5 0 64k' 'read -P 0 64k 6k' 'read -P 6 70k 512' "read -P 0 $((70 * 1024 + 512)) $((58 * 1024 - 512))"
echo 'borders of extents; zeroed grains'

# cloud-hypervisor #8690: who may only read may not trim or zero either.
cp parent.vmdk before.vmdk
nbdkit -r -U - "$PLUGIN" parent.vmdk --run 'qemu-io -f raw -n -c "discard 0 64k" -c "write -z 0 64k" -c "write 0 64k" "$uri"' > out 2>&1 || :
! grep -q '^\(wrote\|discard\)' out || fail "$(cat out)"
rm -f slack.vmdk
nbdkit -r -U - "$PLUGIN" parent.vmdk write=true --run 'qemu-io -f raw -n -c "discard 0 64k" -c "write -z 0 64k" -c "write 0 64k" "$uri"' > out 2>&1 || :
! grep -q '^\(wrote\|discard\)' out || fail "-r: $(cat out)"
cmp parent.vmdk before.vmdk || fail 'a client that may only read changed the file'

# harvester vm-import #138: a last grain that the disk cuts.
for format in vmdk vdi; do
    for sectors in 2047 2049 2300; do
        qemu-img create -q -f $format odd.$format $((sectors * 512))
        served odd.$format write=true -- "write -P 8 $((sectors * 512 - 1024)) 1024" "write -P 9 $((sectors * 512 - 512)) 512"
        by_qemu $format odd.$format "read -P 8 $((sectors * 512 - 1024)) 512" "read -P 9 $((sectors * 512 - 512)) 512" "read -P 0 0 $((sectors * 512 - 1024))"
    done
done
echo 'read-only; last grains'

# qemu #727, dosbox-x #4545: shifts and overflow beyond 2 TiB.
t2=$((2 << 40)) t3=$((3 << 40))
for format in vmdk vdi; do
    qemu-img create -q -f $format large.$format 3T
    served large.$format write=true -- "write -P 1 $((t2 - 512)) 1024" "write -P 2 $((t2 + (5 << 30))) 64k" "write -P 3 $((t3 - 65536)) 64k" \
        "write -z $((t2 + (5 << 30))) 512"
    by_qemu $format large.$format "read -P 1 $((t2 - 512)) 1024" "read -P 0 $((t2 + (5 << 30))) 512" \
        "read -P 2 $((t2 + (5 << 30) + 512)) $((65536 - 512))" "read -P 3 $((t3 - 65536)) 64k" 'read -P 0 0 64k' \
        "read -P 0 $((5 << 30)) 64k" "read -P 0 $((1 << 40)) 64k"
done
echo 'beyond 2 TiB'

# kata #13779: a name with quotes or line ends, in a descriptor that we write.  Either it is
# refused, and nothing is made, or the child is read as it is.
for name in 'a"b.vmdk' $'a\nRW 1 ZERO\nb.vmdk' "a'b.vmdk" $'a\rb.vmdk' 'a"\nparentCID=ffffffff.vmdk' 'a=b #c.vmdk'; do
    mkdir name; cd name
    full vmdk "./$name" 1M
    if nbdkit -U - "$PLUGIN" file="./$name" write-to=child.vmdk --run 'qemu-io -f raw -n -c "write -P 9 0 512" "$uri"' > out 2>&1; then
        served child.vmdk -- 'read -P 9 0 512' 'read -P 7 512 65024'
        [ "$(grep -ac '^parentCID=' child.vmdk)" -eq 1 ] || fail "$(strings child.vmdk)"
        [ "$(grep -ac '^RW ' child.vmdk)" -eq 1 ] || fail "$(strings child.vmdk)"
    else
        [ ! -e child.vmdk ] || fail "refused, but it is there: $(cat out)"
        grep -q 'nbdkit: error' out || fail "no reason: $(cat out)"
    fi
    cd ..; rm -rf name
done
echo 'names with quotes and line ends'

# A CID with few digits keeps them, and becomes none that something else stands on.
mkdir cids
head -c 4096 /dev/zero > cids/d-flat.vmdk
text () { printf '# Disk DescriptorFile\nversion=1\nCID=%s\nparentCID=%s\ncreateType="monolithicFlat"\n%sRW 8 FLAT "d-flat.vmdk" 0\n' "$@"; }
text 5 ffffffff '' > cids/d.vmdk
for c in 0 1 2 3 4 6 7 8 9 a b d e f; do text 12345678 $c $'parentFileNameHint="gone.vmdk"\n' > cids/other-$c.vmdk; done
write_there () { nbdkit "$PLUGIN" cids/d.vmdk write=true --run 'qemu-io -f raw -c "write -q 0 512" -c flush "$uri"' > out 2> err && ! grep -q 'write failed' out; }
write_there || fail "$(cat err)"
grep -qx 'CID=c' cids/d.vmdk || fail "$(cat cids/d.vmdk)"
text 12345678 5 $'parentFileNameHint="gone.vmdk"\n' > cids/other-5.vmdk
! write_there || fail 'all CIDs are taken'
grep -q 'write the CID with 8 digits (CID=0000000c)' err || fail "$(cat err)"
echo 'CIDs with few digits'
