#!/bin/bash
# Hints of other machines: Windows paths, datastore paths, absolute paths.  The last
# component is looked for beside the child; an absolute path is taken as it stands
# only where that is allowed.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/test-chain-disks.sh"

mkdir vm away
base vm/disk.vmdk aaaa0001 A
base away/disk.vmdk aaaa0001 B
store=/vmfs/volumes/501d996c-86c66169-eea2-005056b007c1/sql
n=0
for h in 'C:\VMs\base\disk.vmdk' 'c:/VMs/base/disk.vmdk' '..\base\disk.vmdk' '.\disk.vmdk' 'base\disk.vmdk' \
         '\\server\share\disk.vmdk' "$store/disk.vmdk" /home/u/vm/disk.vmdk "$T/vm/disk.vmdk"; do
    n=$((n + 1))
    child vm/s$n.vmdk bbbb000$n aaaa0001 "$(hint "$h")"
    sees A vm/s$n.vmdk
    silent
done

# A backslash can be part of a name here.
base 'vm/we\ird.vmdk' aaaa0002 C
child vm/t1.vmdk 1 aaaa0002 "$(hint 'we\ird.vmdk')"
sees C vm/t1.vmdk

# Not there: the message says what was tried, and what was not.
child vm/w.vmdk 2 aaaa0001 "$(hint 'D:\x\gone.vmdk')"
refused vm/w.vmdk
says "parent 'D:\\x\\gone.vmdk' of $T/vm/w.vmdk not found" "looked in $T/vm for: gone.vmdk, ../x/gone.vmdk" \
    'Some of these lead outside of that directory and were not tried' \
    'Copy it there, or name its directory with parent-path'
child vm/w.vmdk 2 aaaa0001 "$(hint 'D:\gone.vmdk')"
refused vm/w.vmdk
says "parent 'D:\\gone.vmdk' of $T/vm/w.vmdk not found" "looked in $T/vm for: gone.vmdk (the hint is a Windows path)"
child vm/v.vmdk 3 aaaa0001 "$(hint "$store/gone.vmdk")"
refused vm/v.vmdk
says "parent '$store/gone.vmdk' of $T/vm/v.vmdk not found" gone.vmdk 'Copy it there, or name its directory with parent-path'

# An absolute path outside needs permission.
child vm/abs.vmdk 4 aaaa0001 "$(hint "$T/away/disk.vmdk")"
rm vm/disk.vmdk
refused vm/abs.vmdk
says "parent '$T/away/disk.vmdk' of $T/vm/abs.vmdk" 'lead outside of that directory and were not tried'
sees B vm/abs.vmdk parent-path=away
sees B vm/abs.vmdk unconfined=true
sees B vm/abs.vmdk parent=away/disk.vmdk

# A hint that names no file.
child vm/dir.vmdk 5 aaaa0001 "$(hint 'C:\VMs\')"
refused vm/dir.vmdk
says "$T/vm/dir.vmdk: parentFileNameHint 'C:\\VMs\\' does not name a file"
