#!/bin/bash
# examples/vbox-to-libvirt: a VirtualBox machine as a libvirt domain, whose disks are served,
# or copied.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/machine.sh"
. "$top_srcdir/tests/merge.sh"
need tool plugin python3 nbdcopy qemu-img
python3 -c 'import xml.etree.ElementTree as x; x.indent' || skip 'this python3 is older than 3.9'

letters () { head -c 65536 /dev/zero | tr '\0' "$1"; }
# As if they were installed.
mkdir bin
ln -s "$TOOL" bin/vmdkdelta
printf '#!/bin/bash\nPATH=%q\n[ "$3" = vmdk ] || exit 9\nexec env ${NBDKIT_PRELOAD:+LD_PRELOAD=$NBDKIT_PRELOAD} nbdkit "${@:1:2}" %q "${@:4}"\n' \
    "$PATH" "$PLUGIN" > bin/nbdkit
chmod +x bin/nbdkit
convert () { PATH=$T/bin:$PATH "$top_srcdir/examples/vbox-to-libvirt" "$@"; }

mkdir -p vm/Snapshots
image vm/a.vdi a0000000-1111-4222-8333-444444444440 0 A
image vm/Snapshots/a1.vdi a0000000-1111-4222-8333-444444444441 a0000000-1111-4222-8333-444444444440 B
make_machine "$T/vm/m.vbox" 2 a.vdi Snapshots/a1.vdi
sed -i 's,^      <CPU count="2"/>,&\n      <Memory RAMSize="3072"/><Firmware type="EFI"/><Chipset type="ICH9"/><RTC localOrUTC="UTC"/>\
      <BIOS><ACPI enabled="true"/><IOAPIC enabled="true"/></BIOS>\
      <Boot><Order position="2" device="DVD"/><Order position="1" device="HardDisk"/><Order position="3" device="None"/></Boot>\
      <Network><Adapter slot="0" enabled="true" MACAddress="0800270A0B0C" type="82540EM"><NAT/></Adapter>\
      <Adapter slot="1" enabled="true" MACAddress="0800270A0B0D" type="virtio" cable="false"><BridgedInterface name="eth0"/></Adapter>\
      <Adapter slot="2" enabled="false" MACAddress="0800270A0B0E" type="virtio"/></Network>,' vm/m.vbox
sums=$(sha256sum vm/*.* vm/Snapshots/*)
cat > want <<'X'
<domain type="kvm">
  <name>m &amp; n</name>
  <uuid>11111111-2222-4333-8444-555555555555</uuid>
  <memory unit="MiB">3072</memory>
  <vcpu>2</vcpu>
  <os firmware="efi">
    <type arch="x86_64" machine="q35">hvm</type>
    <boot dev="hd" />
    <boot dev="cdrom" />
  </os>
  <features>
    <acpi />
    <apic />
  </features>
  <cpu mode="host-model" />
  <clock offset="utc" />
  <devices>
    <disk type="network" device="disk">
      <driver name="qemu" type="raw" />
      <source protocol="nbd" name="SATA-0-0">
        <host transport="unix" socket="/run/m &amp; n.sock" />
      </source>
      <target dev="sda" bus="sata" />
    </disk>
    <interface type="user">
      <mac address="08:00:27:0a:0b:0c" />
      <model type="e1000" />
    </interface>
    <interface type="bridge">
      <mac address="08:00:27:0a:0b:0d" />
      <source bridge="eth0" />
      <model type="virtio" />
      <link state="down" />
    </interface>
    <input type="tablet" bus="usb" />
    <graphics type="vnc" port="-1" autoport="yes" />
    <video>
      <model type="vga" />
    </video>
  </devices>
</domain>
X
convert vm/m.vbox > served.xml 2> err
diff want served.xml
grep -q 'adapter 1 was bridged to eth0' err || fail "$(cat err)"
# The name of the export is one that the plugin knows.
nbdkit "$PLUGIN" file=vm/m.vbox --run 'nbdcopy "nbd+unix:///SATA-0-0?socket=$unixsocket" is'
cmp is <(letters B)

mkdir "it's here"
convert --copy="it's here" vm/m.vbox > copied.xml 2> err
file="it's here/m & n-SATA-0-0.qcow2"
qemu-img convert -f qcow2 -O raw "$file" is
cmp is <(letters B)
grep -q '<source file=".*/it.s here/m &amp; n-SATA-0-0.qcow2" />' copied.xml || fail "$(cat copied.xml)"
expect_fail 'qcow2 exists' convert --copy="it's here" vm/m.vbox
if command -v virt-xml-validate > /dev/null; then
    for f in served copied; do virt-xml-validate $f.xml domain; done
else
    echo 'not here: virt-xml-validate'
fi
[ "$(sha256sum vm/*.* vm/Snapshots/*)" = "$sums" ] || fail 'the machine was changed'

# What is refused, and what has no counterpart.
sed 's/type="AHCI"/type="NVMe"/' vm/m.vbox > vm/n.vbox
convert vm/n.vbox > o.xml 2> err
grep -q 'a controller NVMe has no counterpart' err || fail "$(cat err)"
sed 's/type="AHCI"/type="PIIX4"/' vm/m.vbox > vm/n.vbox
convert vm/n.vbox > o.xml 2> err
grep -q 'machine="pc"' o.xml || fail "$(cat o.xml)"
sed 's/lastStateChange=/stateFile="x.sav" &/' vm/m.vbox > vm/n.vbox
expect_fail 'Saved state' convert vm/n.vbox
echo '<!DOCTYPE a [<!ENTITY b "c">]><VirtualBox/>' > vm/n.vbox
expect_fail 'document type' convert vm/n.vbox
rm vm/a.vdi
expect_fail 'cannot be read whole' convert vm/m.vbox
