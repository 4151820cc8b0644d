#!/bin/bash
# A disk that VirtualBox encrypted: its file does not show it, the machine file does.  It is
# refused by name, everywhere; the other disks of the machine are served.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/test-chain-disks.sh"
. "$top_srcdir/tests/machine.sh"
need tool plugin nbdinfo nbdcopy

# The key of the base is that of its children; one of a child is not that of its base.
# encrypt UUID NAME: give the medium a property.
encrypt () {
    sed -i -E "s#(<HardDisk uuid=\"\{$1\}\"[^>]*[^/>])(/?)>#\1><Property name=\"$2\" value=\"U0NORQAB\"/>\2#; s#(<Property name=\"$2\"[^>]*/>)/\$#\1</HardDisk>#" vm/tree.vbox
}
disk0=20ccbed2-3ed9-47de-ad03-afbe78f468ee
for key in CRYPT/KeyStore CRYPT/KeyId; do
    rm -rf vm
    make_machine vm
    encrypt $disk0 $key
    grep -q "$key" vm/tree.vbox
    start "$PLUGIN" vm/tree.vbox 2> log
    grep -q "warning: export disk0 cannot be opened: .*is encrypted by VirtualBox.*encryptmedium $disk0" log
    nbdinfo --list "$uri" > list
    if grep 'export="disk0' list; then fail 'an encrypted disk is served'; fi
    grep -q 'export="disk1"' list
    nbdcopy "nbd+unix:///disk1?socket=$sock" out
    [ "$(stat -c %s out)" -eq 65536 ]
    for name in disk0 disk0@s1; do
        expect_fail . nbdcopy "nbd+unix:///$name?socket=$sock" no
    done
    grep -q 'error: export disk0@s1 cannot be opened: .*encrypted' log
    stop

    expect_fail "encrypted .*disk0.vdi is encrypted by VirtualBox" "$TOOL" info vm/tree.vbox
    expect_fail '"encrypted": true' "$TOOL" info --json vm/tree.vbox
    [ "$(grep -c '"encrypted": true' output)" -eq 6 ] || fail "$(grep -c '"encrypted": true' output) of 6"
    [ "$(grep -c '"encrypted": false' output)" -eq 6 ]

    before=$(cd vm; find . -type f -print0 | sort -z | xargs -0 sha256sum)
    for args in '' --compact --disk=disk0 --snapshot=s --discard-current --dry-run; do
        expect_fail 'is encrypted by VirtualBox' "$TOOL" merge $args vm/tree.vbox
    done
    [ "$(cd vm; find . -type f -print0 | sort -z | xargs -0 sha256sum)" = "$before" ] ||
        fail 'a refused merge changed something'
done

# A property of something else is no key.
rm -rf vm
make_machine vm
encrypt $disk0 Special/Name
"$TOOL" info vm/tree.vbox > out
if grep -q encrypted out; then fail 'any property is taken for a key'; fi

# Nothing but an encrypted disk: the start fails, with the reason.
rm -rf vm
make_machine vm
encrypt $disk0 CRYPT/KeyStore
encrypt e61cbf5e-3c3b-4db7-a223-479d5109b9f6 CRYPT/KeyStore
expect_fail 'is encrypted by VirtualBox' nbdkit -f --exit-with-parent -U "$T/no.sock" "$PLUGIN" vm/tree.vbox

# A machine that is encrypted as a whole
cat > all.vbox <<'END'
<?xml version="1.0"?>
<VirtualBox xmlns="http://www.virtualbox.org/" version="1.19-linux">
  <MachineEncrypted uuid="{502b06b8-caba-4082-b27f-84ffe45cf34b}" keyId="m" keyStore="U0NORQAB">AAAA</MachineEncrypted>
</VirtualBox>
END
expect_fail 'all.vbox is encrypted: .*encryptvm' "$TOOL" info all.vbox
expect_fail 'all.vbox is encrypted: .*encryptvm' nbdkit -f --exit-with-parent -U "$T/no.sock" "$PLUGIN" all.vbox
