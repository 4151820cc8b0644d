#!/bin/bash
# The main job with what is installed, by the short names: filter, plugin,
# command, manual pages, completion.
#
#   tests/installed.sh [NBDKIT-VERSION]
#
# For use after the packages (or "make install") are there: scripts/matrix.sh
# and Debian's autopkgtest run it.  It uses nothing of the source tree.  Besides
# what is tested it needs nbdcopy, and man for the pages.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'echo "FAIL: line $LINENO: $BASH_COMMAND" >&2' ERR
cd "$work"
export LC_ALL=C

runs=$(nbdkit --dump-config | sed -n 's/^version=//p')
echo "nbdkit $runs: $(command -v nbdkit)"
[ $# -eq 0 ] || [ "$runs" = "$1" ] || { echo "expected nbdkit $1" >&2; exit 1; }

text () { (set +o pipefail; yes "$1" | head -c "$2"); }  # yes ends by SIGPIPE

# Two states of a disk.  They differ at its start and its end, and in a piece in
# the middle that is zeros now.
text 'the disk as it was' 8M > old.img
cp old.img new.img
printf 'changed' | dd of=new.img conv=notrunc status=none
dd if=/dev/zero of=new.img bs=1M seek=3 count=1 conv=notrunc status=none
text 'as it is now' 100000 | dd of=new.img bs=64k oflag=seek_bytes seek=$(((8 << 20) - 100000)) conv=notrunc status=none
cp old.img base.img

vmdkdelta create --quiet --from base.img --to new.img --base-descriptor=base.vmdk x.vmdk
vmdkdelta info x.vmdk > info
grep -q 'x\.vmdk' info
vmdkdelta check x.vmdk > /dev/null
echo 'ok: vmdkdelta create, info, check'

nbdkit -U - --filter=vmdkdelta file base.img delta=x.vmdk --run 'nbdcopy "$uri" out.img'
cmp out.img new.img
echo 'ok: nbdkit --filter=vmdkdelta file base.img delta=x.vmdk'

rm out.img
nbdkit -U - vmdk x.vmdk --run 'nbdcopy "$uri" out.img'
cmp out.img new.img
echo 'ok: nbdkit vmdk x.vmdk'

cmp base.img old.img
vmdkdelta apply --quiet --undo=back.vmdk x.vmdk base.img
cmp base.img new.img
vmdkdelta apply --quiet back.vmdk base.img
cmp base.img old.img
echo 'ok: vmdkdelta apply, and back'

for page in vmdkdelta nbdkit-vmdkdelta-filter nbdkit-vmdk-plugin; do
    man -w $page
    man $page 2> log | grep -q SYNOPSIS
    [ ! -s log ] || { cat log >&2; exit 1; }
done
echo 'ok: man'

for dir in /usr/share /usr/local/share; do
    completion=$dir/bash-completion/completions/vmdkdelta
    [ ! -e $completion ] || break
done
bash -c ". $completion && complete -p vmdkdelta"
COMP_WORDS=(vmdkdelta inf) COMP_CWORD=1
# shellcheck disable=SC1090
. $completion
_vmdkdelta
[ "${COMPREPLY[*]}" = info ]
echo 'ok: completion'
