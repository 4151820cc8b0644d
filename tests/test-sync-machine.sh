#!/bin/bash
# sync of a machine: each disk to its own target, all validated before the first is written;
# its .vmx says which file is in use.  --log and --progress=N.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/test-chain-disks.sh"
. "$top_srcdir/tests/vmware.sh"
need tool perl

make_vmware vm
sync () { "$TOOL" sync "$@" > out 2> err || { cat out err; fail "status $?: sync $*"; }; }
full () { [ "$(tr -s '\0-\377' < "$1" | tr '\0\001-\032' 0A-Z)" = "$2" ] || fail "$1 is not full of $2"; }

# An independent disk has no snapshot: before the end all of the machine is refused.
expect_fail 'data.vmdk has no snapshot' "$TOOL" sync vm/vm.vmx --disk=scsi0:0=sys --disk=nvme0:1=data
[ ! -e sys ] || fail 'one disk was written although the other cannot be'
sync vm/vm.vmx --disk=scsi0:0=sys
grep -q 'warning: .*has a disk nvme0:1 (data.vmdk) too' err
full sys C
sync --final --log=log --progress=7 --verify vm/vm.vmx --disk scsi0:0=sys --disk nvme0:1=data 7> percent
full sys D
full data B
[ "$(tail -n 1 percent)" = 100/100 ] || { cat percent; fail '--progress=7'; }
sort -n -u percent | cmp - percent || fail '--progress=7 goes backwards'
[ "$(grep -cE '^[0-9]{4}-[0-9-]{5}T[0-9:]{8}Z \[[0-9]+\] done ' log)" = 2 ] || { cat log; fail '--log'; }
sync --final --json --log=log vm/vm.vmx --disk scsi0:0=sys --disk nvme0:1=data
perl -MJSON::PP -e 'local $/; my @d = @{decode_json (<STDIN>)->{disks}};
    print join " ", map { "$_->{disk}=" . $_->{"written-bytes"} } @d' < out > disks
[ "$(cat disks)" = 'scsi0:0=0 nvme0:1=0' ] || { cat disks out; fail 'the second time'; }

# One disk needs no name; names are those that the plugin and info have.
sed -i '/^nvme/d' vm/vm.vmx
sync vm/vm.vmx one
full one C
while read -r want args; do
    # shellcheck disable=SC2086
    expect_fail "$want" "$TOOL" sync $args
done <<'X'
older.state vm/vm.vmx --disk=scsi0:0@after=x
no.disk.or.snapshot vm/vm.vmx --disk=scsi9:9=x
NAME=TARGET vm/vm.vmx --disk=scsi0:0
twice vm/vm.vmx --disk=scsi0:0=x --disk=scsi0:0=y
twice vm/vm.vmx --disk=scsi0:0=x --disk=scsi0:1=x
one.machine vm/vm.vmx --disk=scsi0:0=x y
one.machine vm/sys-000002.vmdk --disk=scsi0:0=x
number --progress=99 vm/vm.vmx x
allowed.are --progress=-1 vm/vm.vmx x
cannot.be.opened --log=none/log vm/vm.vmx x
X
[ ! -e x ] || fail 'a target of a wrong command'

# It runs, as far as can be seen.
mkdir vm/vm.vmx.lck
expect_fail 'vm.vmx.lck|lock' "$TOOL" sync --final vm/vm.vmx one
full one C
sync vm/vm.vmx one
rmdir vm/vm.vmx.lck
# Where devices are noted.
mkdir notes
start memory 64K
expect_fail '--state' "$TOOL" sync vm/vm.vmx --disk=scsi0:0="$uri"
sync vm/vm.vmx --state=notes --disk=scsi0:0="$uri"
[ -s notes/scsi0:0.vmdkdelta-state ] || fail 'no note in the directory'
sync vm/vm.vmx --state=notes --disk=scsi0:0="$uri"
grep -q 'nothing was written' out
