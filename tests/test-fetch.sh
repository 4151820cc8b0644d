#!/bin/bash
# fetch: a chain and a machine are copied from a host, and can be read like the original; a copy
# that was interrupted goes on; what is not that file is not taken for it.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/drive/fixture.sh"
. "$top_srcdir/tests/drive/hosts.sh"
need tool plugin mkimage nbdcopy

# A chain over two directories: base/disk.vmdk, which is flat, and vm/x.vmdk.
mkdir -p esx/ds/vm esx/ds/base
cd esx/ds
base 8M
mv base.raw base/disk-flat.vmdk
printf '# Disk DescriptorFile\nversion=1\nCID=01234567\nparentCID=ffffffff\ncreateType="vmfs"\nRW %s VMFS "disk-flat.vmdk"\n' $((8 << 11)) > base/disk.vmdk
delta x cowd --parent=../base/disk.vmdk --capacity=8M
mv x.vmdk x-cowd.vmdk vm
rm x.raw
cd "$T"
nbdkit "$PLUGIN" esx/ds/vm/x.vmdk parent-path=esx/ds/base --run 'nbdcopy "$uri" expected.raw'
reads () { nbdkit "$PLUGIN" "$1/vm/x.vmdk" parent-path="$1/base" --run 'nbdcopy "$uri" out.raw'; same expected.raw out.raw; }

start_web "$T/esx" 
at=(--parent-path="$web/ds/base")
"$TOOL" fetch "${at[@]}" "$web/ds/vm/x.vmdk" copy > out
[ "$(grep -c '^fetched .* size  ' out)" = 4 ] || { cat out; fail 'what is told'; }
diff -r esx/ds copy || fail 'the copy is another'
[ "$(stat -c %a copy/base/disk-flat.vmdk)" = 600 ] || fail 'others can read it'
reads copy
! find copy -name '*.part' | grep . || fail 'something is left'

# Again: nothing is copied.  And not over another file.
"$TOOL" fetch "${at[@]}" "$web/ds/vm/x.vmdk" copy > out
[ "$(grep -c '^was there' out)" = 4 ] || { cat out; fail 'copied twice'; }
poke copy/vm/x-cowd.vmdk 0 ff
expect_fail 'x-cowd.vmdk is there already, and is no copy of' "$TOOL" fetch "${at[@]}" "$web/ds/vm/x.vmdk" copy
truncate -s 100 copy/vm/x-cowd.vmdk
expect_fail 'x-cowd.vmdk is there already, and is no copy of .* bytes' "$TOOL" fetch "${at[@]}" "$web/ds/vm/x.vmdk" copy
rm -r copy

# What is missing is told before the first byte.
mv esx/ds/base/disk-flat.vmdk kept
expect_fail 'disk-flat.vmdk' "$TOOL" fetch "${at[@]}" "$web/ds/vm/x.vmdk" copy
[ ! -e copy ] || fail 'something was written'
mv kept esx/ds/base/disk-flat.vmdk
expect_fail 'give what to copy' "$TOOL" fetch "$web/ds/vm/x.vmdk"
expect_fail 'is no URI' "$TOOL" fetch esx/ds/vm/x.vmdk copy
expect_fail 'one of this machine' "$TOOL" fetch "$web/x" "$web/y"

# Interrupted behind 64 MiB: it goes on there.
mkdir esx/big
truncate -s 160M esx/big/disk-flat.vmdk
head -c 1M /dev/urandom | tee >(dd of=esx/big/disk-flat.vmdk bs=1M seek=0 conv=notrunc status=none) |
    dd of=esx/big/disk-flat.vmdk bs=1M seek=63 conv=notrunc status=none
head -c 1M /dev/urandom | dd of=esx/big/disk-flat.vmdk bs=1M seek=150 conv=notrunc status=none
printf '# Disk DescriptorFile\nversion=1\nCID=01234567\nparentCID=ffffffff\ncreateType="vmfs"\nRW %s VMFS "disk-flat.vmdk"\n' $((160 << 11)) > esx/big/disk.vmdk
mkdir big
head -c 100M esx/big/disk-flat.vmdk > begun
cp --sparse=always begun big/disk-flat.vmdk.part
start_web "$T/esx" 
"$TOOL" fetch --threads=1 "$web/big/disk.vmdk" big > out
grep -q '^completed .*disk-flat.vmdk' out || { cat out; fail 'it was begun anew'; }
cmp esx/big/disk-flat.vmdk big/disk-flat.vmdk
[ "$(du -k big/disk-flat.vmdk | cut -f 1)" -lt 20000 ] || fail 'zeros were written'
# What is there of another file is not gone on with.
mv big/disk-flat.vmdk big/disk-flat.vmdk.part
poke big/disk-flat.vmdk.part 100 00 11 22 33
"$TOOL" fetch "$web/big/disk.vmdk" big > out
grep -q '^fetched .*disk-flat.vmdk' out || { cat out; fail 'gone on with another file'; }
cmp esx/big/disk-flat.vmdk big/disk-flat.vmdk
# Killed at any moment, and run again.
rm -r big
start_web "$T/esx" delay=30
for i in 1 2 3 4 5 6; do
    "$TOOL" fetch "$web/big/disk.vmdk" big > out 2>&1 & pid=$!
    sleep 0.$i
    kill -KILL $pid 2>/dev/null || :
    wait $pid 2>/dev/null || :
    [ ! -e big/disk-flat.vmdk ] || cmp esx/big/disk-flat.vmdk big/disk-flat.vmdk
done
"$TOOL" fetch "$web/big/disk.vmdk" big > out
diff -r esx/big big
# One at a time.
rm big/disk-flat.vmdk
(flock 9; expect_fail 'disk-flat.vmdk.part is in use' "$TOOL" fetch "$web/big/disk.vmdk" big) 9> big/disk-flat.vmdk.part

# A machine by ssh, with checksums.
start_sshd
by=(--remote=identity="$T/user" --remote=known-hosts="$T/known")
cat > esx/ds/vm/vm.vmx <<END
.encoding = "UTF-8"
config.version = "8"
displayName = "vm"
scsi0.present = "TRUE"
scsi0:0.present = "TRUE"
scsi0:0.deviceType = "scsi-hardDisk"
scsi0:0.fileName = "x.vmdk"
END
echo nvram > esx/ds/vm/vm.nvram
"$TOOL" fetch "${by[@]}" --parent-path="$ssh$T/esx/ds/base" "$ssh$T/esx/ds/vm/vm.vmx" copy > out
[ "$(grep -c '^fetched .* sha256  ' out)" = 6 ] || { cat out; fail 'what is told of checksums'; }
diff -r esx/ds copy
reads copy
rm -r copy
"$TOOL" fetch --no-checksum --quiet "${by[@]}" --parent-path="$ssh$T/esx/ds/base" "$ssh$T/esx/ds/vm/vm.vmx" copy > out
[ ! -s out ] || fail 'not quiet'
# In the middle, where no look at its ends tells.
poke copy/base/disk-flat.vmdk 4000000 01 02 03 04
expect_fail 'disk-flat.vmdk: its SHA-256 is .* fetch it again' \
    "$TOOL" fetch "${by[@]}" --parent-path="$ssh$T/esx/ds/base" "$ssh$T/esx/ds/vm/vm.vmx" copy
