#!/bin/bash
# A VirtualBox machine file as exports: all disks, now and in each snapshot, by every
# name that they have; and machine files that do not fit their disks.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/test-chain-disks.sh"
. "$top_srcdir/tests/machine.sh"
need nbdinfo

make_machine vm
sha256sum vm/*.v* vm/Snapshots/* > sums

# letter NAME: what the export of the server started last is full of.
letter () {
    nbdcopy "nbd+unix:///$(sed 's/{/%7B/g; s/}/%7D/g; s/ /%20/g' <<< "$1")?socket=$sock" seen
    tr -s '\0-\377' < seen | tr '\0\001-\032' 0A-Z
}

start "$PLUGIN" vm/tree.vbox 2> log
[ ! -s log ] || { cat log; fail 'expected no message'; }
[ "$(exports)" = 'disk0 disk0@s1 disk0@s1b disk0@s1c disk0@s2 disk0@s3 disk1 disk1@s1 disk1@s1b disk1@s1c disk1@s2 disk1@s3 ' ] ||
    fail "$(exports)"
while read -r want name; do
    [ "$(letter "$name")" = "$want" ] || fail "$name is '$(letter "$name")', expected '$want'"
done <<'END'
D disk0
A disk0@s1
B disk0@s2
C disk0@s3
E disk0@s1b
E disk0@s1c
G disk1
F disk1@s1
G disk1@s2
H disk1@s3
I disk1@s1b
J disk1@s1c
D sata-0-0
H sata-1-0@s3
B f1316682-4904-4808-991f-8656c9303856
J {93EFF61A-9b70-4c0b-bb8d-1c1794b447f5}
A disk0@4d97e697-b030-47d2-a79b-3cdfd9ef3e88
END
nbdinfo --list "$uri" > list
for d in 'disk0:current state of disk0, VDI, depth 2, 65536 bytes' \
         'disk1@s1c:snapshot s1c (2026-11-21T19:31:42Z), VDI, depth 2, 65536 bytes'; do
    grep -A 2 -F "export=\"${d%%:*}\":" list | grep -Fq "description: ${d#*:}" || fail "$d: $(cat list)"
done
for name in '' s1 e06bba1b-848c-4c49-9b56-f15db0f53524 nothing disk0@ disk0.vdi; do
    expect_fail . nbdinfo --size "nbd+unix:///$name?socket=$sock"
done
stop
for text in "the machine 'tree' has several disks: name one of disk0, disk1" \
            "'s1' could be each of disk0@s1, disk1@s1 in the machine 'tree'" \
            "could be each of disk0@s2, disk1@s2" \
            "there is no disk or snapshot 'nothing' in the machine 'tree'"; do
    grep -Fq "$text" log || { cat log; fail "no message: $text"; }
done
sha256sum --quiet -c sums

# One disk: it is the default, and snapshots need no more than their name.
sed '/<HardDisk uuid="{e61cbf5e/,/^        <\/HardDisk>/d
     /port="1"/,/<\/AttachedDevice>/d' vm/tree.vbox > vm/one.vbox
sees D vm/one.vbox; silent
start "$PLUGIN" vm/one.vbox
[ "$(letter s1b)" = E ] && [ "$(letter 4d97e697-b030-47d2-a79b-3cdfd9ef3e88)" = A ] || fail 'by snapshot'
stop

# Moved, with the folder of snapshots spread: found by the last part of the name.
mkdir moved elsewhere
cp vm/one.vbox vm/disk0.vdi moved
sed -i 's,location=",location="/home/user/VirtualBox VMs/tree/,' moved/one.vbox
cp vm/Snapshots/*.vdi elsewhere
mv "elsewhere/{35b30b4a-333d-4dd3-97f1-b17da36c33d7}.vdi" moved
refused moved/one.vbox parent-path=vm/Snapshots/none
sees D moved/one.vbox parent-path=elsewhere; silent
mv moved/one.vbox windows.vbox
sed 's,location="/home/user/VirtualBox VMs/tree/\(Snapshots/\)*,location="C:\\VMs\\,' windows.vbox > moved/one.vbox
sees D moved/one.vbox parent-path=elsewhere; silent
# Without them only what does not need them is served, and a warning says why.
sees D moved/one.vbox parent-path=elsewhere
start "$PLUGIN" moved/one.vbox 2> log
[ "$(exports)" = 'disk0@s1 ' ] || fail "$(exports)"
expect_fail . nbdinfo --size "nbd+unix:///disk0?socket=$sock"
stop
grep -Fq 'export disk0 cannot be opened: ' log
grep -Fq 'Copy it there, or name its directory with parent-path' log

# Out of its directory: not followed, also not when there is a fitting file.
mkdir deep
sed 's,location="disk0.vdi",location="../vm/disk0.vdi",' vm/one.vbox > deep/one.vbox
cp -r vm/Snapshots deep
refused deep/one.vbox
says 'deep/one.vbox refers to ../vm/disk0.vdi, which leads outside of'
sees D deep/one.vbox unconfined=true
sees D deep/one.vbox parent-path=vm
sed 's,location="disk0.vdi",location="/etc/passwd",' vm/one.vbox > deep/one.vbox
refused deep/one.vbox
says 'refers to /etc/passwd, which leads outside of'

# The file under that name is another one.
cp -r vm other
image other/disk0.vdi 00000000-3ed9-47de-ad03-afbe78f468ee 0 Z
start "$PLUGIN" other/tree.vbox 2> log
expect_fail . nbdinfo --size "nbd+unix:///disk0?socket=$sock"
[ "$(letter disk1)" = G ] || fail 'disk1 is not served'
stop
grep -Fq "disk0.vdi should have UUID {20ccbed2-3ed9-47de-ad03-afbe78f468ee}, as $T/other/tree.vbox says, but its UUID is {00000000-3ed9-" log
# Its parent is not that of the machine file.
cp vm/disk0.vdi other
image "other/Snapshots/{35b30b4a-333d-4dd3-97f1-b17da36c33d7}.vdi" 35b30b4a-333d-4dd3-97f1-b17da36c33d7 \
    20ccbed2-3ed9-47de-ad03-afbe78f468ee -
start "$PLUGIN" other/tree.vbox 2> log
expect_fail . nbdinfo --size "nbd+unix:///disk0?socket=$sock"
[ "$(letter disk0@s2)" = B ] || fail 'disk0@s2 is not served'
stop
grep -Fq "is {f1316682-4904-4808-991f-8656c9303856}, says $T/other/tree.vbox, but {20ccbed2-" log
sed -i '/"disk0.vdi"/s/20ccbed2/20ccbed3/' other/tree.vbox
start "$PLUGIN" other/tree.vbox ignore-cid=true 2> log
stop
grep -Fq 'going on as asked' log

# Other registries, saved states, formats, parameters without a meaning.
sed '/<HardDisk uuid="{35b30b4a/d' vm/one.vbox > vm/foreign.vbox
start "$PLUGIN" vm/foreign.vbox 2> log
[ "$(letter disk0@s2)" = B ] || fail 'disk0@s2 is not served'
stop
grep -Fq "{35b30b4a-333d-4dd3-97f1-b17da36c33d7} (sata-0-0 of the current state) is not in the machine's own media registry" log
sed '/<MediaRegistry>/,/<\/MediaRegistry>/d' vm/one.vbox > vm/global.vbox
refused vm/global.vbox
says "not in the machine's own media registry" 'Name it as the registry, or give that file, the .vdi or .vmdk, instead'
sed 's,snapshotFolder=,stateFile="Snapshots/x.sav" &,' vm/one.vbox > vm/saved.vbox
sees D vm/saved.vbox
warns "the machine 'tree' is in the Saved state"
sed 's,format="VDI",format="VHD",' vm/one.vbox > vm/vhd.vbox
refused vm/vhd.vbox
says 'disk image of format VHD; only VDI and VMDK'
refused vm/one.vbox parent=vm/disk0.vdi
says 'parent=FILE has no meaning with a machine file'

# Entities: refused before anything is looked for.
printf '<!DOCTYPE V [<!ENTITY a SYSTEM "file:///etc/passwd">]>\n<VirtualBox><Machine name="&a;"/></VirtualBox>\n' > vm/evil.vbox
refused vm/evil.vbox
says 'vm/evil.vbox line 1: a document type'
! grep -q root: output || fail 'it discloses /etc/passwd'
refused vm/evil.vbox -v
