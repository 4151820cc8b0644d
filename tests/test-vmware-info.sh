#!/bin/bash
# What info says of a VMware machine.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/test-chain-disks.sh"
. "$top_srcdir/tests/vmware.sh"
need tool

make_vmware vm
cat > want <<'X'
vm/vm.vmx
  kind           a VMware machine
  name           The "old" server
  guest          debian12-64
  state          off, if it is not running on another host: there is no lock beside it
Disks, as they are now, each with its files, newest first:
  scsi0:0      64 KiB  a chain of 3 files: sys-000002.vmdk, sys-000001.vmdk, sys.vmdk
    tracking     changed block tracking is on
  nvme0:1      64 KiB  data.vmdk
    mode         independent-persistent
Snapshots, each below its parent:
  before update       2016-01-13T02:16:05Z
    after             2016-01-13T02:16:05Z
      (now)
    Tom & Ann         -
Next, to read one of these, by the name of its export:
    nbdkit vmdk file=vm/vm.vmx
    nbdinfo --list nbd://localhost
    nbdcopy nbd://localhost/scsi0%3A0@before%20update out.raw
X
"$TOOL" info vm/vm.vmx > out
diff want out
"$TOOL" info vm > out
diff want out

"$TOOL" info --chain vm/vm.vmx > out
diff <(sed -n '/^Files/,/^Snapshots/p' out) - <<'X'
Files, each below its parent:
  NAME                FORMAT    ALLOCATED       ZERO  STATE       OF
  sys.vmdk            FLAT         64 KiB        0 B  ok          scsi0:0@before update
   sys-000001.vmdk    COWD         64 KiB        0 B  ok          scsi0:0@after
    sys-000002.vmdk   COWD         64 KiB        0 B  ok          scsi0:0
   sys-000003.vmdk    COWD         64 KiB        0 B  ok          scsi0:0@Tom & Ann
  data.vmdk           FLAT         64 KiB        0 B  ok          nvme0:1
Snapshots, each below its parent:
X

# JSON: valid, and with the names that the plugin has.
"$TOOL" info --json --chain vm/vm.vmx > o.json
if command -v python3 > /dev/null; then python3 -m json.tool o.json > /dev/null; fi
for text in '"role": "machine"' '"product": "VMware"' '"current-snapshot": 2' '"node": "nvme0:1"' '"data": 65536' \
            '"time": "2016-01-13T02:16:05Z"' '"change-tracking": true' '"name": "The \"old\" server"' '"state": "ok"'; do
    grep -Fq "$text" o.json || { cat o.json; fail "not in the JSON: $text"; }
done
if command -v nbdinfo > /dev/null; then
    start "$PLUGIN" vm/vm.vmx
    [ "$(exports)" = "$(sed -n '/"exports"/,$s/.*"name": "\(.*\)",/\1/p' o.json | sort | tr '\n' ' ')" ] || fail "$(exports)"
    stop
fi

# info STATUS TEXT...: of bad/vm.vmx.
info () {
    local want=$1 text status=0
    shift
    "$TOOL" info bad/vm.vmx > out 2>&1 || status=$?
    [ $status = "$want" ] || { cat out; fail "status $status, expected $want"; }
    for text; do grep -q -e "$text" out || { cat out; fail "not in the output: $text"; }; done
}
fresh () { rm -rf bad; cp -r vm bad; }

# The .vmsd is of another time: the descriptors say where it stands.
fresh
sed -i 's/^snapshot0.uid/snapshot.current = "3"\n&/' bad/vm.vmsd
info 0 "the .vmsd says that it is based on 'Tom & Ann': the descriptors decide" '^      (now)'
grep -B 1 '(now)' out | grep -q '^    after'
# An older file is named, the machine runs, is suspended, is tracked.
fresh
sed -i 's/sys-000002/sys-000001/' bad/vm.vmx
printf 'checkpoint.vmState = "x.vmss"\nctkEnabled = "true"\n' >> bad/vm.vmx
: > bad/vm.vmx.lck
: > bad/data.vmdk.lck
info 1 '^    newer  .*/sys-000002.vmdk$' '^  lock  .*vm.vmx.lck' '^    lock .*data.vmdk.lck' '^  state  *suspended' \
    '^  tracking  *changed block' "unreadable  *scsi0:0@after: the .vmsd .* but the machine writes to it"
# Files that are not here.
fresh
rm bad/sys-000001-delta.vmdk
info 1 '^  missing  *scsi0:0: .*sys-000001-delta.vmdk' '^  missing  *scsi0:0@after: ' 'copy the missing files there'
fresh
rm bad/sys-000002*
info 1 '^  scsi0:0  *-  sys-000002.vmdk, which cannot be read' '^  missing  *scsi0:0: .*sys-000002.vmdk'
! grep -q '^  missing  *scsi0:0@' out || { cat out; fail 'frozen files are here'; }
mkdir elsewhere
mv bad/sys.vmdk bad/sys-flat.vmdk elsewhere
cp vm/sys-000002* bad
info 1 '^  missing'
"$TOOL" info --parent-path=elsewhere bad/vm.vmx > out
# No .vmsd, and a bad one; a loop; nothing; no machine.
fresh
rm bad/vm.vmsd
info 0
! grep -q '^Snapshots' out || fail 'snapshots of nothing'
echo x > bad/vm.vmsd
info 1 '^  no names .*line 1 is not KEY'
fresh
sed -i "s/^parentCID=.*/parentCID=$(sed -n 's/^CID=//p' bad/sys-000002.vmdk)/; s/sys.vmdk/sys-000002.vmdk/" bad/sys-000001.vmdk
info 1 'unreadable  *scsi0:0: .*loops'
expect_fail 'loops' timeout 60 "$TOOL" info --chain --json bad
echo 'scsi0:0.fileName = "' > bad/vm.vmx
info 1 'vm.vmx line 1 has a value whose quotes do not end'
expect_fail '"state": "unreadable"' "$TOOL" info --json bad/vm.vmx
expect_fail 'no machine [(].vmx, .vbox[)] in this directory' "$TOOL" info elsewhere
# Names that are hostile to a terminal or a shell.
fresh
sed -i 's/The |22old|22 server/a|1B[31m|0Ab/' bad/vm.vmx
sed -i 's/before update/$(id) |E2|80|AE%/' bad/vm.vmsd
info 0 '^  name  *a\\x1b\[31m\\x0ab$' 'scsi0%3A0@%231 out.raw'
! grep -q $'\xe2\x80\xae' out || fail 'text that turns around, in the output'
