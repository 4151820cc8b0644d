#!/bin/bash
# Relative names: of delta= from the current directory, of extents from the descriptor.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/drive/fixture.sh"
need filter mkimage nbdcopy

simple
mkdir -p there here
mv x.vmdk x-cowd.vmdk there
cd here
for name in ../there/x.vmdk ./../there/x.vmdk "$T/there/x.vmdk"; do
    nbdkit_run file ../base.raw delta="$name" --run 'nbdcopy "$uri" out.raw'
    same ../expected.raw out.raw
done
# By a link elsewhere: the extent is beside the file itself, not beside the link.
ln -s ../there/x.vmdk link.vmdk
nbdkit_run file ../base.raw delta=link.vmdk --run 'nbdcopy "$uri" out.raw'
same ../expected.raw out.raw
