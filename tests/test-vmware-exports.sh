#!/bin/bash
# A VMware machine file as exports: all disks, now and in each snapshot; the .vmx and the
# descriptors decide, and the .vmsd only names.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/test-chain-disks.sh"
. "$top_srcdir/tests/vmware.sh"
need nbdinfo

make_vmware vm
sha256sum vm/* > sums

# letter NAME: what the export of the server started last is full of.
letter () {
    nbdcopy "nbd+unix:///$(sed 's/ /%20/g; s/&/%26/g; s/#/%23/g' <<< "$1")?socket=$sock" seen
    tr -s '\0-\377' < seen | tr '\0\001-\032' 0A-Z
}
is () { [ "$(letter "$2")" = "$1" ] || fail "$2 is '$(letter "$2")', expected '$1'"; }

start "$PLUGIN" vm/vm.vmx 2> log
[ ! -s log ] || { cat log; fail 'expected no message'; }
[ "$(exports)" = 'nvme0:1 scsi0:0 scsi0:0@Tom & Ann scsi0:0@after scsi0:0@before update ' ] || fail "$(exports)"
while read -r want name; do is "$want" "$name"; done <<'X'
D scsi0:0
A scsi0:0@before update
C scsi0:0@after
E scsi0:0@Tom & Ann
B nvme0:1
A before update
D SCSI0:0
C scsi0:0@#2
X
nbdinfo --list "$uri" > list
for d in 'scsi0:0:current state of scsi0:0, COWD, depth 2, 65536 bytes' \
         'scsi0:0@before update:snapshot before update (2016-01-13T02:16:05Z), FLAT, depth 0, 65536 bytes'; do
    name=${d%:c*} name=${name%:snap*}
    grep -A 2 -F "export=\"$name\":" list | grep -Fq "description: ${d#"$name":}" || fail "$d: $(cat list)"
done
for name in '' nothing 'scsi0:0@' 'scsi0:0@sys.vmdk' '../vm.vmx'; do
    expect_fail . nbdinfo --size "nbd+unix:///$name?socket=$sock"
done
stop
grep -Fq "several disks: name one of scsi0:0, nvme0:1" log || { cat log; fail 'no message about several disks'; }
sha256sum --quiet -c sums

# Without a .vmsd, or with one that cannot be: the same bytes by the names of files.
rm -rf bad; cp -r vm bad
for text in gone 'snapshot0.uid = "x"' 'snapshot0.uid = "1' "$(printf 'snapshot%s.uid = "1"\n' 0 1)"; do
    if [ "$text" = gone ]; then rm bad/vm.vmsd; else printf '%s\n' "$text" > bad/vm.vmsd; fi
    start "$PLUGIN" bad/vm.vmx 2> log
    [ "$(exports)" = 'nvme0:1 scsi0:0 scsi0:0@sys-000001.vmdk scsi0:0@sys.vmdk ' ] || fail "$text: $(exports)"
    is A 'scsi0:0@sys.vmdk'
    stop
    [ "$text" = gone ] || grep -Fq 'snapshots are called by their files: ' log || { cat log; fail "$text: no message"; }
done

# It gives files to snapshots that the descriptors know nothing of, or that lead outside.
base bad/other.vmdk c0 X
base vm2.vmdk d0 Y
{
    snapshot 0 1 '' current 1 1 sys-000002.vmdk
    snapshot 1 2 '' foreign 1 1 other.vmdk
    snapshot 2 3 '' outside 1 1 ../vm2.vmdk
    snapshot 3 4 '' absolute 1 1 /etc/passwd
    snapshot 4 5 '' right 1 1 'C:\vms\sys.vmdk'
} > bad/vm.vmsd
start "$PLUGIN" bad/vm.vmx 2> log
is A scsi0:0@right
is D scsi0:0
for name in current foreign outside absolute; do
    expect_fail . nbdinfo --size "nbd+unix:///scsi0:0@$name?socket=$sock"
    grep -Fq "export scsi0:0@$name cannot be opened" log || { cat log; fail "no warning of $name"; }
done
stop
for text in 'but the machine writes to it' 'it is another disk' 'vm2.vmdk, which leads outside'; do
    grep -Fq "$text" log || { cat log; fail "no message: $text"; }
done

# The newest file is locked by its host, and was not copied: what is frozen is served.
cp vm/vm.vmsd bad/
rm bad/sys-000002*
start "$PLUGIN" bad/vm.vmx 2> log
is C scsi0:0@after
is B nvme0:1
expect_fail . nbdinfo --size "nbd+unix:///scsi0:0?socket=$sock"
stop
grep -Fq 'export scsi0:0 cannot be opened' log
# It names an older file than the newest.
rm -rf bad; cp -r vm bad
sed -i 's/sys-000002/sys-000001/' bad/vm.vmx
: > bad/vm.vmx.lck
start "$PLUGIN" bad/vm.vmx 2> log
is C scsi0:0
stop
grep -q 'sys-000001.vmdk is not the newest state of its disk: .*sys-000002.vmdk was made on it' log || { cat log; fail 'no word of newer files'; }
grep -q 'there is a lock .*vm.vmx.lck' log || { cat log; fail 'no word of the lock'; }

# Writing: what is in use, and of a machine that is off.
expect_fail 'vm.vmx.lck' nbdkit "$PLUGIN" write=true bad/vm.vmx --run true
rm bad/vm.vmx.lck
printf 'checkpoint.vmState = "vm.vmss"\n' >> bad/vm.vmx
expect_fail 'is suspended' nbdkit "$PLUGIN" write=true bad/vm.vmx --run true
expect_fail 'write-to= goes with one' nbdkit "$PLUGIN" write-to="$T/new.vmdk" vm/vm.vmx --run true
expect_fail 'no meaning with a machine file' nbdkit "$PLUGIN" parent=vm/sys.vmdk vm/vm.vmx --run true
rm -rf bad; cp -r vm bad
start "$PLUGIN" write=true bad/vm.vmx
letters F > f
nbdcopy f "nbd+unix:///scsi0:0?socket=$sock"
is F scsi0:0
is C scsi0:0@after
expect_fail . nbdcopy f "nbd+unix:///after?socket=$sock"
stop
cmp bad/sys-000001-delta.vmdk vm/sys-000001-delta.vmdk

# Disks that are gone have their snapshots.
sed -i '/scsi0:0/Id; /nvme/d' bad/vm.vmx
start "$PLUGIN" bad/vm.vmx
[ "$(exports)" = 'scsi0:0@Tom & Ann scsi0:0@after scsi0:0@before update ' ] || fail "$(exports)"
is C scsi0:0@after
stop
rm bad/vm.vmsd
# Names that are no names, and texts that are none.
for text in '' 'scsi0:0.fileName = "x.vmdk' 'a b' "$(printf 'scsi0:0.fileName = "%s.vmdk"\n' x y)" \
    'displayName = "no disk"' 'encryption.data = "x"' 'scsi0:0.fileName = "../vm2.vmdk"'; do
    printf '%s\n' "$text" > bad/vm.vmx
    expect_fail 'error: ' nbdkit "$PLUGIN" bad/vm.vmx --run true
done
sha256sum --quiet -c sums

# On another host: the .vmx, the .vmsd beside it, and what they name.
. "$top_srcdir/tests/drive/hosts.sh"
start_web "$T/vm"
q='?dcPath=ha-datacenter&dsName=d'
start "$PLUGIN" "$web/folder/vm.vmx$q"
is D scsi0:0
is E 'scsi0:0@Tom & Ann'
stop
grep -qF "/folder/vm.vmsd$q" "$web_log" || { cat "$web_log"; fail 'the query was not kept as it is'; }
