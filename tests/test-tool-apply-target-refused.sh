#!/bin/bash
# Targets that must not be written: refused, and left as they are.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need tool mkimage qemu-img qemu-io

"$MKIMAGE" make cowd a-delta.vmdk --capacity=1M --grain=4K --descriptor=a.vmdk \
    --parent=base.vmdk --parent-cid=12345678 --cid=9abcdef0 --raw=a.raw
head -c 1M /dev/urandom > good
refused=0

state () { settled "$1"; sha256 "$1"; stat -c '%y %s %b' "$1"; }

# refuse REGEX TARGET [OPTIONS]: also in a dry run.
refuse () {
    local option
    [ ! -f "$2" ] || state "$2" > before
    for option in --quiet --dry-run; do
        expect_fail "$1" "$TOOL" apply $option --undo=undo.vmdk "${@:3}" a.vmdk "$2"
        ! grep -q "partly" "$T/output" || fail "$2: a state is told"
        [ ! -e undo.vmdk ] || fail "$2: an undo file was made"
        [ ! -f "$2" ] || { state "$2" > after; same before after; }
    done
    refused=$((refused + 1))
}

take () {
    fresh good taken
    local target=${1:-taken}
    "$TOOL" apply --quiet a.vmdk "$target" 2> err || { cat err; fail "$target is not taken"; }
}
take

# ---- What is not a raw disk -----------------------------------------------------

echo "RW 2048 FLAT \"good\" 0" | cat <(printf '# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\ncreateType="monolithicFlat"\n') - > flat.vmdk
refuse 'flat.vmdk is a VMDK descriptor, .*give the flat file.*good' flat.vmdk
refuse 'a.vmdk' a.vmdk
refuse 'a-delta.vmdk' a-delta.vmdk
for subformat in monolithicSparse streamOptimized; do
    qemu-img convert -f raw -O vmdk -o subformat=$subformat good $subformat.vmdk
    refuse "$subformat.vmdk is a sparse image" $subformat.vmdk
done
"$MKIMAGE" make sesparse se.vmdk --capacity=1M
refuse 'se.vmdk is a sparse image' se.vmdk
qemu-img convert -f raw -O qcow2 good q.qcow2
refuse 'q.qcow2 is a qcow image' q.qcow2
qemu-img convert -f raw -O vdi good d.vdi
refuse 'd.vdi is a sparse image' d.vdi
for format in qcow qed parallels vhdx vpc; do
    qemu-img convert -f raw -O $format good d.$format
    refuse "d.$format is a .* image, and only raw and flat targets.*--base-format=raw" d.$format
done
tar -cf d.ova good
refuse 'd.ova is a tar archive' d.ova
gzip -c good > d.gz
refuse 'd.gz is compressed by gzip' d.gz
echo '<html>no such page</html>' > page
refuse 'page is a web page' page
mkdir dir
refuse 'dir' dir
refuse 'none.raw.*No such file' none.raw
[ ! -e none.raw ] || fail "the target was made"
refuse '/dev/null' /dev/null
refuse '/dev/zero' /dev/zero
mkfifo fifo
refuse 'fifo' fifo
: > empty
refuse 'empty has 0 bytes' empty

# The first bytes of a raw disk may be anything else.
printf '# just a text in the first sector of a disk' | cat - good | head -c 1M > good2
fresh good2 taken
"$TOOL" apply --quiet a.vmdk taken 2> err || { cat err; fail "a text is taken for a descriptor"; }

# A fixed VHD is one, with a footer, which stays.
qemu-img convert -f raw -O vpc -o subformat=fixed,force_size good fixed.vhd
fresh good taken
tail -c 512 fixed.vhd >> taken
"$TOOL" apply --quiet a.vmdk fixed.vhd 2> err || { cat err; fail 'a fixed VHD is refused'; }
"$TOOL" apply --quiet a.vmdk taken 2> err || { cat err; fail 'a disk with a footer is refused'; }
same fixed.vhd taken

# A guest's image, on a disk without partitions.
for image in q.qcow2 d.ova monolithicSparse.vmdk; do
    head -c 1M $image > guest
    truncate -s 1M guest
    rm -f guest.vmdkdelta-state
    head -c 1M guest > kept
    refuse 'base-format=raw' guest
    "$TOOL" apply --quiet --base-format=raw --undo=back.vmdk a.vmdk guest
    "$TOOL" apply --quiet --base-format=raw back.vmdk guest
    same kept guest
    rm back.vmdk
done
expect_fail 'base-format=qcow2: allowed is raw' "$TOOL" apply --base-format=qcow2 a.vmdk good

# ---- One of the files that are read ----------------------------------------------

cp a-delta.vmdk copy-delta.vmdk
ln -s a-delta.vmdk link
refuse 'link' link
ln a-delta.vmdk hard
refuse 'hard' hard
rm hard

# ---- In use: locks of hosted products ---------------------------------------------

cp good vm-flat.vmdk
mkdir vm.vmdk.lck
refuse 'vm-flat.vmdk is in use: there is a lock vm.vmdk.lck' vm-flat.vmdk
rmdir vm.vmdk.lck
: > vm-flat.vmdk.lck
refuse 'vm-flat.vmdk is in use: there is a lock vm-flat.vmdk.lck' vm-flat.vmdk
rm vm-flat.vmdk.lck
: > other.vmdk.lck
take vm-flat.vmdk
cp good disk.raw
ln -s nowhere disk.raw.lck
refuse 'disk.raw is in use: there is a lock disk.raw.lck' disk.raw

# ---- In use: locked by QEMU -------------------------------------------------------

# hold ARGS...: QEMU has the image open until release.
hold () {
    coproc QEMU { exec qemu-io "$@" 2>&1; }
    qemu=$QEMU_PID
    echo "read 0 512" >&"${QEMU[1]}"
    read -r -t 20 line <&"${QEMU[0]}" || fail "qemu-io does not answer"
}
release () {
    echo quit >&"${QEMU[1]}" || :
    wait "$qemu" || :
}
cp good used
hold -f raw used
refuse 'used is locked by another program' used
release
take used
cp good used
hold -r -f raw used
refuse 'used is locked by another program' used
release

# The lock that apply itself takes (F_OFD_SETLK) is seen by another one.
if command -v perl >/dev/null; then
    cp good used
    perl -MFcntl -e '
        open my $f, "+<", $ARGV[0] or die;
        my $l = pack "ssx4qqix4", F_WRLCK, 0, 0, 0, 0;
        fcntl $f, 37, $l or die "lock: $!";
        print "locked\n"; close STDOUT; sleep 3600' used > said &
    holder=$!
    await test -s said
    refuse 'used is locked by another program' used
    kill $holder; wait $holder || :
    take used
fi

# ---- In use: open for writing, without a lock: the target, the delta -----------------

cp good used
exec 8>> used
refuse 'used is open for writing in another program' used
exec 8>&-
exec 8>> a-delta.vmdk
refuse 'a-delta.vmdk is open for writing in another program' used
exec 8>&-
take used

# ---- Read-only --------------------------------------------------------------------

start -r file good
expect_fail "the server offers this export read-only" "$TOOL" apply a.vmdk "$uri"
stop
expect_fail "cannot connect" "$TOOL" apply a.vmdk "nbd+unix:///?socket=$T/none"
if [ "$(id -u)" != 0 ]; then
    cp good readonly
    chmod 444 readonly
    expect_fail "readonly: cannot open for writing: Permission denied" "$TOOL" apply a.vmdk readonly
fi

# ---- Smaller than the disk, by NBD --------------------------------------------------

start memory 1048064
expect_fail "has 1048064 bytes.* 1048576 bytes.*nothing was written" "$TOOL" apply a.vmdk "$uri"
stop
echo "$refused targets refused"
