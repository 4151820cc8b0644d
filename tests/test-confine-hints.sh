#!/bin/bash
# Parent hints lead no further than the names of extents do; and names from images are
# shown escaped, whatever they hold.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/test-chain-disks.sh"
need filter nbdinfo

mkdir vm outside vm/sub
base outside/o.vmdk 1 S
base vm/in.vmdk 1 A
letters Z > raw
ln -s ../outside/o.vmdk vm/link-out.vmdk
ln -s in.vmdk vm/link-in.vmdk
ln -s ../outside vm/dir-out
mkfifo vm/fifo.vmdk

for name in in.vmdk ./in.vmdk sub/../in.vmdk "$T/vm/in.vmdk" link-in.vmdk; do
    child vm/s.vmdk 2 1 "$(hint "$name")"
    sees A vm/s.vmdk
done
for name in ../outside/o.vmdk "$T/outside/o.vmdk" link-out.vmdk dir-out/o.vmdk '..\outside\o.vmdk' /etc/passwd \
            /proc/self/environ /dev/zero /dev/stdin; do
    child vm/s.vmdk 2 1 "$(hint "$name")"
    refused vm/s.vmdk
    says "$T/vm/s.vmdk" "'$name'" 'lead outside of that directory and were not tried' 'name its directory with parent-path'
    if grep -Eq 'root:|content 0000000' "$T/output"; then fail 'something of the outside is shown'; fi
    # Over a base it is like a parent that is not there.
    filter_sees Z file raw delta=vm/s.vmdk
    warns 'is taken for the parent of' "$T/vm/s.vmdk"
    case $name in
        *o.vmdk | link-out.vmdk)
            sees S vm/s.vmdk parent-path=outside
            sees S vm/s.vmdk unconfined=true
            ;;
    esac
done
child vm/s.vmdk 2 1 "$(hint fifo.vmdk)"
refused vm/s.vmdk
says "parent 'fifo.vmdk' of $T/vm/s.vmdk"

# Control characters, and very long names.
child vm/s.vmdk 2 1 "$(hint $'x\e[31m\a\x9b.vmdk')"
expect_fail . nbdkit "$PLUGIN" vm/s.vmdk --run true
if LC_ALL=C grep -q $'[\e\a\x9b]' "$T/output"; then fail "control characters are shown"; fi
child vm/s.vmdk 2 1 "$(hint $'x\xc2\x9b\xe2\x80\xaey.vmdk')"
refused vm/s.vmdk
says 'x\xc2\x9b\xe2\x80\xaey.vmdk'
for n in 300 5000 100000; do
    long=$(head -c $n /dev/zero | tr '\0' x)
    child vm/s.vmdk 2 1 "$(hint "$long")"
    refused vm/s.vmdk
    says xxxxxxxx
    [ $n -gt 300 ] || says "$T/vm/s.vmdk"   # longer ones fill the message
    printf '# Disk DescriptorFile\nCID=1\nRW 128 FLAT "%s"\n' "$long" > vm/e.vmdk
    refused vm/e.vmdk
    says "$T/vm/e.vmdk" "refers to xxxxxxxx"
    [ "$(stat -c %s "$T/output")" -lt 8192 ] || fail 'the message is too long'
done
