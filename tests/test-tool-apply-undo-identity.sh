#!/bin/bash
# An undo file that was made for another target or for other deltas is not taken
# for the one of this run.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need tool mkimage

for s in 1 2; do "$MKIMAGE" make cowd b$s.vmdk --capacity=1M --grain=4K --count=50 --seed=$s; done
[ "$(stat -c %s b1.vmdk)" = "$(stat -c %s b2.vmdk)" ]
head -c 1M /dev/urandom > original
fresh original target
"$TOOL" apply --quiet --undo=u.vmdk b1.vmdk target
"$TOOL" apply --quiet u.vmdk target
same original target
# Other deltas, of the same size.
"$TOOL" apply --quiet --undo=u.vmdk b2.vmdk target 2> err || : refused
same_or_refused () { cmp -s "$1" "$2" || { "$TOOL" apply --quiet u.vmdk "$2"; cmp "$1" "$2" || fail "$3: the undo file does not bring it back"; }; }
same_or_refused original target "other deltas"
# Another target, of the same size.
rm u.vmdk
fresh original target
"$TOOL" apply --quiet --undo=u.vmdk b1.vmdk target
head -c 1M /dev/urandom > original2
fresh original2 target2
"$TOOL" apply --quiet --undo=u.vmdk b1.vmdk target2 2> err || : refused
same_or_refused original2 target2 "another target"
