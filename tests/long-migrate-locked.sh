#!/bin/bash
# examples/migrate-esxi.sh on a host that lets nothing of a running machine be read: the base is
# cloned there, and all that is new is left for the end.  And what is left on the host is removed
# only when that is asked for.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/test-chain-disks.sh"
. "$top_srcdir/tests/drive/hosts.sh"
. "$top_srcdir/tests/drive/esxi.sh"

start_esxi all
new_machine locked
m=$T/moved
go "$m" prepare "$ssh$vmx" "scsi0:0=$m/sys.img" "scsi0:1=$m/data.img"
go "$m" run
grep -q 'clone: scsi0:1 from ' out || { cat out; fail 'no clone'; }
grep -q 'all of it is left for' out || { cat out; fail 'a round although nothing can be read'; }
go "$m" stop final compare start
no 'was started' "$m" compare
moved "$m"
go "$m" cleanup
grep -q 'nothing was removed' out
REMOVE=yes go "$m" cleanup
[ ! -e "${vmx%/*}/vmdkdelta-clone" ] || fail 'the clones are still there'
[ ! -s "${vmx%/*}/ctl/snapshots" ] || fail 'the snapshots are still there'
end_machine
