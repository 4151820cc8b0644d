#!/bin/bash
# A hint is relative to the directory of the descriptor that holds it: not to the
# one that nbdkit was started in.  If the descriptor is reached by a symbolic link,
# the directory of the file itself comes first, then that of the link.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/test-chain-disks.sh"

mkdir vm vm/sub elsewhere lonely
base vm/base.vmdk 1 A
base vm/sub/base.vmdk 1 B
base elsewhere/base.vmdk 1 C
base base.vmdk 1 D
child vm/snap.vmdk 2 1 "$(hint base.vmdk)"
child vm/dot.vmdk 3 1 "$(hint ./sub/../base.vmdk)"
child vm/sub.vmdk 4 1 "$(hint sub/base.vmdk)"
child vm/sub/snap.vmdk 5 1 "$(hint base.vmdk)"

for f in vm/snap.vmdk "$T/vm/snap.vmdk" ./vm/../vm/snap.vmdk vm/dot.vmdk; do sees A "$f"; done
for f in vm/sub.vmdk vm/sub/snap.vmdk; do sees B "$f"; done
cd elsewhere
sees A ../vm/snap.vmdk
sees B ../vm/sub/snap.vmdk
cd ../vm
sees A snap.vmdk
sees A ./snap.vmdk
cd ..

# By a link: the file's own directory first ...
ln -s ../vm/snap.vmdk elsewhere/link.vmdk
sees A elsewhere/link.vmdk
# ... then that of the link.
child lonely/snap.vmdk 6 1 "$(hint base.vmdk)"
ln -s ../lonely/snap.vmdk elsewhere/link2.vmdk
sees C elsewhere/link2.vmdk
refused lonely/snap.vmdk
says "parent 'base.vmdk' of $T/lonely/snap.vmdk not found" "looked in $T/lonely for: base.vmdk"
# A directory that is a link.
ln -s vm linked
sees A linked/snap.vmdk
sees B linked/sub/snap.vmdk
silent
