#!/bin/bash
# A hostile directory: links and special files named like disks are no exports, nothing
# hangs, and nothing of the outside appears in lists, messages or content.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/test-chain-disks.sh"
need nbdinfo timeout

secret=SECRET-$RANDOM-$RANDOM
mkdir vm outside
base outside/o.vmdk 1 S "ddb.comment=\"$secret\""
echo "$secret" > outside/text
base vm/good.vmdk 1 A
ln -s /etc/passwd vm/passwd.vmdk
ln -s ../outside/o.vmdk vm/o.vmdk
ln -s ../outside/text vm/text.vmdk
ln -s ../outside vm/dir.vmdk
ln -s good.vmdk vm/again.vmdk
ln -s gone vm/gone.vmdk
ln -s /dev/zero vm/zero.vmdk
mkfifo vm/fifo.vmdk
mkdir vm/real.vmdk
cp outside/text vm/text-in.vmdk
printf '# Disk DescriptorFile\nCID=1\nRW 1 FLAT "../outside/text"\n' > vm/evil1.vmdk
printf '# Disk DescriptorFile\nCID=1\nRW 128 FLAT "o-flat.vmdk"\n' > vm/evil2.vmdk
ln -s ../outside/o-flat.vmdk vm/o-flat.vmdk
child vm/evil3.vmdk 2 1 "$(hint ../outside/o.vmdk)"
printf '# Disk DescriptorFile\nCID=3\nRW 1 ZERO\n' > $'vm/e\e[2Jvil.vmdk'
touch "vm/$(head -c 240 /dev/zero | tr '\0' x).vmdk"

start "$PLUGIN" dir=vm 2> server.log
nbdinfo --list "$uri" > list 2>&1 || :
[ "$(grep -c '^export=' list)" = 2 ] || fail "not two exports that can be opened: $(cat list)"
nbdcopy "nbd+unix:///good.vmdk?socket=$sock" out
letters A | cmp - out
for name in evil1.vmdk evil2.vmdk evil3.vmdk passwd.vmdk o.vmdk text.vmdk again.vmdk fifo.vmdk dir.vmdk/o.vmdk; do
    expect_fail . nbdcopy "nbd+unix:///$name?socket=$sock" out
done
stop
if grep -aq -e "$secret" -e root: list out; then fail 'something of the outside is shown'; fi
# What is in the directory itself may be quoted: of text-in.vmdk, and nothing else.
if grep -a -e "$secret" -e root: server.log | grep -v vm/text-in.vmdk; then fail 'the outside is in a message'; fi
if grep -aq $'\e' server.log; then fail 'a control character is in a message'; fi
grep -Fq "refers to ../outside/text, which leads outside of $T/vm" server.log || fail "$(cat server.log)"
