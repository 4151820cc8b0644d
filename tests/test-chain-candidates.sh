#!/bin/bash
# Several files have the name of the parent: the one whose CID fits is taken.  If none
# fits, all are named with their CIDs, and ignore-cid takes the first.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/test-chain-disks.sh"

mkdir vm one two
base vm/disk.vmdk 11111111 A
base one/disk.vmdk 22222222 B
base two/disk.vmdk 33333333 C
dirs=(parent-path=one parent-path=two)

child vm/s.vmdk 1 11111111 "$(hint disk.vmdk)"; sees A vm/s.vmdk "${dirs[@]}"; silent
child vm/s.vmdk 1 22222222 "$(hint disk.vmdk)"; sees B vm/s.vmdk "${dirs[@]}"; silent
child vm/s.vmdk 1 33333333 "$(hint disk.vmdk)"; sees C vm/s.vmdk "${dirs[@]}"; silent

child vm/s.vmdk 1 4444abcd "$(hint disk.vmdk)"
refused vm/s.vmdk "${dirs[@]}"
says "$T/vm/s.vmdk was made on content 4444abcd" "$T/vm/disk.vmdk has content 11111111" \
    "$T/one/disk.vmdk has content 22222222" "$T/two/disk.vmdk has content 33333333" \
    'it is the wrong file, or a clone, or it was changed after the child was made'

sees A vm/s.vmdk "${dirs[@]}" ignore-cid=true
warns "warning: $T/vm/s.vmdk was made on content 4444abcd, but $T/vm/disk.vmdk has content 11111111; going on as asked"
# The one that fits is better than the first, even then.
child vm/s.vmdk 1 33333333 "$(hint disk.vmdk)"
sees C vm/s.vmdk "${dirs[@]}" ignore-cid=true
silent

# A parent that is given is not compared with those; its CID counts too.
child vm/t.vmdk 2 33333333 "$(hint gone.vmdk)"
sees C vm/t.vmdk parent=two/disk.vmdk
refused vm/t.vmdk parent=one/disk.vmdk
says "$T/vm/t.vmdk was made on content 33333333" "$T/one/disk.vmdk has content 22222222"
sees B vm/t.vmdk parent=one/disk.vmdk ignore-cid=true
warns 'going on as asked'

# A candidate that cannot be read does not hide the next.
child vm/u.vmdk 3 22222222 "$(hint disk.vmdk)"
echo 'not a VMDK' > vm/disk.vmdk
sees B vm/u.vmdk "${dirs[@]}"
rm one/disk.vmdk
refused vm/u.vmdk parent-path=one
says "$T/vm/disk.vmdk" 'not a VMDK'
