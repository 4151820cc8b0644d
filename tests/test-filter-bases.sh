#!/bin/bash
# The base may come from any plugin and through any filter; other filters may be on top.
# A row: what is above our filter, what is below it, and the plugin with its parameters.
# (A base over NBD, HTTP or SSH, or a compressed one, has a test of its own.)
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/drive/fixture.sh"
need filter mkimage nbdcopy nbdinfo tar

simple
# In pieces ("noextents" because nbdkit 1.32's split plugin ends with a signal when any
# client asks for the extents of a range that ends within data),
# in a partition, at an offset, in a tar file.
split -b 1500000 base.raw piece.
pieces=$(echo piece.*)
head -c 512 /dev/zero > parted
printf '\0\0\0\0\203\0\0\0\0\010\0\0\0\040\0\0' | dd of=parted bs=1 seek=446 conv=notrunc status=none
printf '\125\252' | dd of=parted bs=1 seek=510 conv=notrunc status=none
truncate -s 1M parted
cat base.raw >> parted
truncate -s 6M parted
tar -cf base.tar base.raw
sha256sum base.raw x.vmdk x-cowd.vmdk parted base.tar > sums

done=0
while IFS='|' read -r above below plugin; do
    missing=
    for f in $above $below; do
        command nbdkit --filter="$f" null --version > /dev/null 2>&1 || missing+=" filter $f"
    done
    command nbdkit "${plugin%% *}" --version > /dev/null 2>&1 || missing+=" plugin ${plugin%% *}"
    if [ "$missing" ]; then echo "not here:$missing"; continue; fi
    filters=()
    for f in $above "$FILTER" $below; do filters+=("--filter=$f"); done
    echo "run: ${above:+$above, }vmdkdelta${below:+, $below}: $plugin"
    # shellcheck disable=SC2086  # words
    start "${filters[@]}" $plugin delta=x.vmdk
    rm -f out.raw
    nbdcopy "$uri" out.raw
    same expected.raw out.raw
    nbdinfo --map "$uri" > map
    awk '$1 != at { exit 1 } { at += $2 } END { exit at != 4194304 }' map || { cat map; fail 'the map'; }
    stop
    sha256sum --quiet -c sums || fail 'files were changed'
    done=$((done + 1))
done <<TABLE
||file base.raw
|noextents|split $pieces
|partition|file parted partition=1
|offset|file parted offset=1M range=4M
|tar|file base.tar tar-entry=base.raw
|cache|file base.raw
|cache partition|file parted partition=1
|readahead|file base.raw
|blocksize|file base.raw minblock=4K maxdata=64K maxlen=64K
|retry|file base.raw
|stats log|file base.raw logfile=log statsfile=stats
|noextents|file base.raw
|cow|file base.raw
cache||file base.raw
cow||file base.raw
cow cache|readahead|file base.raw
readahead||file base.raw
blocksize||file base.raw maxdata=32K
rate||file base.raw rate=1G
log||file base.raw logfile=log
ip||file base.raw
TABLE
[ $done -ge 10 ] || fail "only $done rows could run"
echo "$done rows"
