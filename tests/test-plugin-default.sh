#!/bin/bash
# What an empty export name means: with file=, that file; with dir= and one disk, its
# newest snapshot; with several, nothing.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/test-chain-disks.sh"
need nbdinfo

# default ARGS...: the name of what "" is.
default () { nbdkit "$PLUGIN" "$@" --run 'nbdinfo "$uri"' | sed -n 's/^export="\(.*\)":$/\1/p'; }

mkdir vm
base vm/disk.vmdk 1 A
child vm/z.vmdk 2 1 "$(hint disk.vmdk)"
child vm/m.vmdk 3 2 "$(hint z.vmdk)"
sees A file=vm/disk.vmdk
for f in disk z m; do
    have=$(default file=vm/$f.vmdk)
    [ "$have" = $f.vmdk ] || fail "file=$f: default is '$have'"
done
have=$(default dir=vm)
[ "$have" = m.vmdk ] || fail "dir=: default is '$have'"

# file= gives the links of its chain, not those above.
start "$PLUGIN" vm/z.vmdk
[ "$(exports)" = 'disk.vmdk z.vmdk ' ] || fail "$(exports)"
expect_fail "." nbdinfo --size "nbd+unix:///m.vmdk?socket=$sock"
stop

# Two snapshots of one disk, neither the newest: nothing is the default.
child vm/other.vmdk 4 2 "$(hint z.vmdk)"
expect_fail "there are 4 exports and none is the default: name one of them" \
    nbdkit "$PLUGIN" dir=vm --run 'nbdinfo --size "$uri"'
rm vm/other*
# A second disk.
base vm/d2.vmdk 5 B
expect_fail 'none is the default: name one of them' nbdkit "$PLUGIN" dir=vm --run 'nbdinfo --size "$uri"'

# A directory without any, and one that is not there.
mkdir empty
expect_fail "$T/empty: there is no VMDK disk or snapshot in this directory" nbdkit "$PLUGIN" dir=empty --run true
expect_fail "$T/gone: cannot open directory: No such file or directory" nbdkit "$PLUGIN" dir=gone --run true
expect_fail "$T/vm/z.vmdk: cannot open directory: Not a directory" nbdkit "$PLUGIN" dir=vm/z.vmdk --run true
expect_fail "$T/gone.vmdk: cannot open: No such file or directory" nbdkit "$PLUGIN" gone.vmdk --run true
expect_fail "empty is a directory: dir=.*empty serves the disks in it" nbdkit "$PLUGIN" empty --run true
