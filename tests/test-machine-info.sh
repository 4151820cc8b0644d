#!/bin/bash
# What info says of a VirtualBox machine.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/test-chain-disks.sh"
. "$top_srcdir/tests/machine.sh"
need tool

make_machine vm
cat > want <<'END'
vm/tree.vbox
  kind           a VirtualBox machine
  name           tree
  UUID           4f3863d9-6a3b-4d6e-b318-3bfde640525f
  settings       1.19-linux
  state          off, if it is not running: this file does not show that
  last change    2026-11-21T19:31:42Z
  total          652 KiB in 12 files
Disks, as they are now:
  disk0        64 KiB  sata-0-0, a chain of 3 files: Snapshots/{35b30b4a-333d-4dd3-97f1-b17da36c33d7}.vdi
  disk1        64 KiB  sata-1-0, a chain of 3 files: Snapshots/{c88a03b9-5b08-41fb-900f-b467cb4634d1}.vmdk
Snapshots, each below its parent:
  s1                  2026-11-21T19:30:47Z
    s2                2026-11-21T19:31:00Z  current
      s3              2026-11-21T19:31:14Z
      (now)
    s1b               2026-11-21T19:31:28Z
      s1c             2026-11-21T19:31:42Z
Next, to read one of these, by the name of its export:
    nbdkit vmdk file=vm/tree.vbox
    nbdinfo --list nbd://localhost
    nbdcopy nbd://localhost/disk0 out.raw
    nbdcopy nbd://localhost/disk0@s1 out.raw
Or, to merge its snapshots, first see what would be done:
    vmdkdelta merge --dry-run vm/tree.vbox
END
# Where small files are packed, they use less than their size.
"$TOOL" info vm/tree.vbox | sed '/^  total /s/, .* on disk$//' > out
diff want out

"$TOOL" info --chain vm/tree.vbox > out
diff <(sed -n '/^Files/,/^Snapshots/p' out) - <<'END'
Files, each below its parent:
  NAME                                           FORMAT    ALLOCATED       ZERO  STATE       OF
  disk0.vdi                                      VDI          64 KiB        0 B  ok          s1
   {f1316682-4904-4808-991f-8656c9303856}.vdi    VDI          64 KiB        0 B  ok          s2
    {2423be15-8afc-444a-a2fa-597a996e0d87}.vdi   VDI          64 KiB        0 B  ok          s3
    {35b30b4a-333d-4dd3-97f1-b17da36c33d7}.vdi   VDI          64 KiB        0 B  ok          now
   {8034de2b-d4b1-42c0-852d-f42ec1bb3d5a}.vdi    VDI          64 KiB        0 B  ok          s1b
    {e0ba26ad-69ff-42ad-aac3-dcd1c4c0b7f1}.vdi   VDI             0 B        0 B  ok          s1c
  disk1.vmdk                                     VDI          64 KiB        0 B  ok          s1
   {754c9667-ef48-48ba-8e5b-24d0210afcb8}.vmdk   VDI          64 KiB        0 B  ok          s2
    {2ad8f727-089c-4a43-9b5c-1a2e3222917d}.vmdk  VDI          64 KiB        0 B  ok          s3
    {c88a03b9-5b08-41fb-900f-b467cb4634d1}.vmdk  VDI             0 B        0 B  ok          now
   {6d18fefe-331d-4734-878c-cb574a4e7e01}.vmdk   VDI          64 KiB        0 B  ok          s1b
    {93eff61a-9b70-4c0b-bb8d-1c1794b447f5}.vmdk  VDI          64 KiB        0 B  ok          s1c
Snapshots, each below its parent:
END

# JSON: valid, and with the names that the plugin has.
"$TOOL" info --json --chain vm/tree.vbox > o.json
if command -v python3 > /dev/null; then python3 -m json.tool o.json > /dev/null; fi
for text in '"role": "machine"' '"power": "off"' '"current-snapshot": "e06bba1b-848c-4c49-9b56-f15db0f53524"' \
            '"name": "disk1@s1c"' '"time": "2026-11-21T19:31:42Z"' '"data": 65536' '"current-state-modified": false'; do
    grep -Fq "$text" o.json || { cat o.json; fail "not in the JSON: $text"; }
done
[ "$(grep -c '"registered": true' o.json)" = 12 ]
start "$PLUGIN" vm/tree.vbox
[ "$(exports)" = "$(sed -n '/"exports"/,$s/.*"name": "\(.*\)",/\1/p' o.json | sort | tr '\n' ' ')" ] || fail "$(exports)"
stop

# One disk, and names that are hostile to a terminal or a shell; the commands work.
sed '/<HardDisk uuid="{e61cbf5e/,/^        <\/HardDisk>/d
     /port="1"/,/<\/AttachedDevice>/d
     s/name="s1"/name="a b;\&#x202e;c"/; s/name="s2"/name="$(id) %"/' vm/tree.vbox > "vm/it's.vbox"
"$TOOL" info "vm/it's.vbox" > out
grep -Fq '  a b;\xe2\x80\xaec ' out
grep -Fxq "    nbdcopy -- [ nbdkit vmdk file='vm/it'\\''s.vbox' ] out.raw" out
grep -Fxq '    nbdcopy nbd://localhost/disk0@%7B4d97e697-b030-47d2-a79b-3cdfd9ef3e88%7D out.raw' out
! grep -q $'\xe2\x80\xae' out || fail 'text that turns around, in the output'

# What is wrong is told, with the rest; the status says so.
mv vm/disk0.vdi .
expect_fail 'unreadable .*refers to disk0.vdi, the disk image \{20ccbed2-.*not found' "$TOOL" info vm/tree.vbox
grep -Fxq '    vmdkdelta info --parent-path=DIR vm/tree.vbox' output
grep -q '^  disk1 ' output
"$TOOL" info --parent-path=. vm/tree.vbox > /dev/null
expect_fail '"state": "unreadable"' "$TOOL" info --json vm/tree.vbox
mv disk0.vdi vm
sed 's,snapshotFolder=,stateFile="x.sav" &,' vm/tree.vbox > vm/saved.vbox
"$TOOL" info vm/saved.vbox | grep -q 'state  *saved'
echo '<a' > bad.vbox
expect_fail 'bad.vbox line 2: not XML' "$TOOL" info bad.vbox
expect_fail '"state": "unreadable"' "$TOOL" info --json bad.vbox

# Beside other files.
"$TOOL" info vm/disk0.vdi vm/tree.vbox > out
grep -q '^  kind  *a disk without a parent' out
grep -q '^  kind  *a VirtualBox machine' out

# Verbs that work on one disk say so; "check" does not call it damaged.
sha256sum vm/tree.vbox > sum
for verb in check map 'create --to vm/disk0.vdi x.vmdk --from'; do
    status=0
    # shellcheck disable=SC2086  # words
    "$TOOL" $verb vm/tree.vbox > out 2>&1 || status=$?
    [ $status = 1 ] && grep -q 'is a machine file (XML)' out || { cat out; fail "$verb: status $status"; }
done
"$TOOL" compact vm/tree.vbox > out  # of its disks
sha256sum --quiet -c sum
# Nor do they for VMware's.
for text in '.encoding = "UTF-8"' '#!/usr/bin/vmware\n.encoding = "UTF-8"'; do
    printf "$text\nscsi0:0.fileName = \"vm-000001.vmdk\"\n" > vm.vmx
    for verb in compact check map; do
        status=0
        "$TOOL" $verb vm.vmx > out 2>&1 || status=$?
        [ $status = 1 ] || { cat out; fail "$verb: status $status"; }
        grep -q "is a machine file of VMware's, not a disk" out || { cat out; fail "$verb"; }
    done
done
