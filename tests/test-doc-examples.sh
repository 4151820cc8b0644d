#!/bin/bash
# The examples in README.md and the manual page work as they are written.
#
# An example is a command in a ```sh block of README.md, or in a verbatim
# paragraph of a manual page, outside of its SYNOPSIS, that begins with a command.  Each runs
# in a directory with the files that the examples name; what it makes must be
# the disk that QEMU reads from the same files.  Three things are replaced:
#
#   --filter=vmdkdelta           by the path of the filter that was built
#   https://example.com/         by the directory, as file://
#   a server without a client    gets one that copies the disk
#
# not_run below lists all that is not run, and why.
. "$top_srcdir/tests/lib.sh"
need filter mkimage qemu-img qemu-io nbdcopy nbdinfo

pages=("$top_srcdir/README.md" "$top_srcdir/docs/nbdkit-vmdkdelta-filter.pod")

# not_run EXAMPLE: print why, or fail if the example can run.
not_run () {
    case $1 in
        'make deps '*|make|'sudo make install')
            echo 'builds, installs, or runs the tests that we are in' ;;
        qemu-system-*)          echo 'needs a guest operating system' ;;
        *' /dev/'*)             echo 'needs root and a block device' ;;
        *' ssh user@host:'*)    echo 'needs a host with an ssh server' ;;
        *' curl '*)             lacks nbdkit:plugin:curl ;;
        *' nbd socket='*)       lacks nbdkit:plugin:nbd ;;
        *--filter=xz*)          lacks xz nbdkit:filter:xz ;;
        *--filter=cow*)         lacks nbdkit:filter:cow ;;
        *--filter=partition*)   lacks nbdkit:filter:partition ;;
        *) return 1 ;;
    esac
}
lacks () { ! (need "$@"); }

# examples FILE: one a line, continued lines joined.
examples () {
    case $1 in
        *.md)  awk '/^```sh/ { on = 1; next } /^```/ { on = 0 } on' "$1" ;;
        *.pod) awk '/^=/ { head = $0 } head != "=head1 SYNOPSIS" && /^ / { sub(/^ /, ""); print }' "$1" ;;
    esac | sed -e ':a' -e '/\\$/ { N; s/ *\\\n */ /; ba' -e '}' |
        grep -E '^(sudo|make|nbdkit|nbdcopy|nbdinfo|qemu-[a-z0-9_-]+|vmdkdelta) |^make$'
}

# ---- The files ---------------------------------------------------------------

# A raw base with one partition, from 1 MiB to the end.
size=$((16 << 20)) start=$((1 << 20))
nbdkit pattern $size --run 'nbdcopy "$uri" base.img'
head -c 512 /dev/zero > mbr
printf '\0\0\0\0\203\0\0\0\0\010\0\0\0\170\0\0' | dd of=mbr bs=1 seek=446 conv=notrunc status=none
printf '\125\252' | dd of=mbr bs=1 seek=510 conv=notrunc status=none
dd if=mbr of=base.img conv=notrunc status=none

# The same as a VMDK for QEMU, and QEMU's delta.
cp base.img disk-flat.vmdk
cat > disk.vmdk <<END
# Disk DescriptorFile
version=1
CID=11111111
parentCID=ffffffff
createType="vmfs"
RW $((size / 512)) VMFS "disk-flat.vmdk"
END
qemu-img create -q -f vmdk -F vmdk -b disk.vmdk x.vmdk
qemu-io -f vmdk -c 'write -q -P 0x58 2M 64k' -c 'write -q -P 0x59 9M 192k' x.vmdk

# Two deltas as ESX writes them.
"$MKIMAGE" make cowd disk-000001-delta.vmdk --capacity=$size --fill=20 --runs=9 --layer=1 \
    --descriptor=disk-000001.vmdk --parent=disk.vmdk --cid=22222222 --parent-cid=11111111
"$MKIMAGE" make cowd disk-000002-delta.vmdk --capacity=$size --fill=10 --runs=5 --layer=2 \
    --descriptor=disk-000002.vmdk --parent=disk-000001.vmdk --cid=33333333 --parent-cid=22222222

# What must come out, read by QEMU.
qemu-img convert -f vmdk -O raw x.vmdk x.expected
qemu-img convert -f vmdk -O raw disk-000001.vmdk 1.expected
qemu-img convert -f vmdk -O raw disk-000002.vmdk 2.expected
tail -c +$((start + 1)) x.expected > partition.expected
cmp -s x.expected base.img && fail 'the delta changes nothing'

! command -v xz >/dev/null || xz -k --block-size=4MiB base.img
start file base.img
ln -s "$sock" base.sock
sha256sum -- *.vmdk base.img > sums

# nbdcopy starts nbdkit itself: it has to find one that loads our filter.
mkdir bin
cat > bin/nbdkit <<END
#!/bin/sh
exec env LD_PRELOAD=${NBDKIT_PRELOAD:-} $(type -P nbdkit) "\$@"
END
chmod +x bin/nbdkit
PATH=$T/bin:$PATH

# ---- Run them ----------------------------------------------------------------

# check EXAMPLE: what it made must be right.
check () {
    local expected=x.expected made=
    case $1 in
        *disk-000002.vmdk*) expected=2.expected ;;
        *disk-000001.vmdk*) expected=1.expected ;;
        *--filter=partition*) expected=partition.expected ;;
    esac
    for f in out.raw served.raw; do
        [ ! -e $f ] || { same $f $expected; made=1; }
    done
    [ ! -e out.qcow2 ] || { qemu-img compare -f raw -F qcow2 $expected out.qcow2; made=1; }
    case $1 in
        *nbdinfo*) grep -q data log ;;
        *-D*vmdkdelta.map=1*) grep -q 'map: 2097152+65536 data layer 0 .*/x.vmdk at ' log ;;
        *null:*) ;;
        *) [ "$made" ] || fail 'it made nothing that this test knows' ;;
    esac
    sha256sum --quiet -c sums
}

ran=0
for page in "${pages[@]}"; do
    while read -r example; do
        if why=$(not_run "$example"); then
            echo "not run ($why): $example"
            continue
        fi
        command=${example//--filter=vmdkdelta/--filter=$FILTER}
        command=${command//https:\/\/example.com/file:\/\/$T}
        case $example in
            nbdkit*--run*) ;;
            nbdkit*--filter=cow*)
                command+=' --run '\''nbdcopy "$uri" served.raw && qemu-io -f raw -c "write -P 7 2M 64k" "$uri"'\' ;;
            nbdkit*) command+=' --run '\''nbdcopy "$uri" served.raw'\' ;;
        esac
        echo "run: $example"
        rm -f out.raw out.qcow2 served.raw
        (eval "$command") < /dev/null > log 2>&1 || { cat log; fail "${page##*/}: $example"; }
        check "$example"
        ran=$((ran + 1))
    done < <(examples "$page")
done
[ $ran -ge 12 ] || fail "only $ran examples were found and run"
echo "$ran examples run"
