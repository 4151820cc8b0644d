#!/bin/bash
# VDIs that VirtualBox and QEMU made, by the plugin and by the filter.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need plugin filter xz nbdcopy nbdinfo qemu-img qemu-io

# ---- VirtualBox's -------------------------------------------------------------

tar -xf "$top_srcdir/tests/data/vb-vdi-tiny-2.tar.xz"
tar -xf "$top_srcdir/tests/data/vb-neg-modified-vdi.tar.xz"
tiny=vb-vdi-tiny-2 changed=vb-neg-modified-vdi
mapfile -t digests < <(grep -o '"sha256_flattened_here": *"[0-9a-f]*"' $tiny/meta.json | cut -d '"' -f 4)
[ ${#digests[@]} = 3 ] || fail "meta.json"
i=0
for f in base diff1 diff2; do
    nbdkit "$PLUGIN" $tiny/$f.vdi --run 'nbdcopy "$uri" out' 2> log
    [ ! -s log ] || fail "$f: $(cat log)"
    [ "$(sha256 out)" = "${digests[i]}" ] || fail "$f by file="
    nbdkit "$PLUGIN" dir=$tiny --run "nbdcopy \"nbd+unix:///$f.vdi?socket=\$unixsocket\" out"
    [ "$(sha256 out)" = "${digests[i]}" ] || fail "$f by dir="
    i=$((i + 1))
done
[ "$(sha256 out)" = "$(cut -d ' ' -f 1 $tiny/expected.raw.sha256)" ] || fail "expected.raw.sha256"

# The filter, over the base as another program reads it.  QEMU rounds up to whole sectors.
qemu-img convert -f vdi -O raw $tiny/base.vdi base.raw
[ "$(sha256 base.raw)" = "${digests[0]}" ] || fail "QEMU reads another base"
for f in 1 2; do
    nbdkit_run file base.raw delta=$tiny/diff$f.vdi --run 'nbdcopy "$uri" out' 2> log
    [ ! -s log ] || fail "diff$f: $(cat log)"
    [ "$(sha256 out)" = "${digests[f]}" ] || fail "diff$f by the filter"
done

# A link left out, or another parent: UUIDs are compared however links are given.
text='diff2.vdi was made on the image with UUID \{.*\}, but .*base.vdi has UUID \{.*\}.*ignore-cid'
expect_fail "$text" nbdkit_run null size=16M delta-allow-no-parent=true delta=$tiny/base.vdi delta=$tiny/diff2.vdi --run true
mkdir alone
cp $tiny/diff2.vdi alone
expect_fail "$text" nbdkit "$PLUGIN" alone/diff2.vdi parent=$tiny/base.vdi --run true

# A base that was written after its child was made.
text="warning: $T/$changed/base.vdi was changed after $T/$changed/diff1.vdi was made"
nbdkit "$PLUGIN" $changed/diff1.vdi --run 'nbdcopy "$uri" out' 2> log
grep -Fq "$text (modification UUID " log || { cat log; fail "no warning"; }
nbdkit "$PLUGIN" dir=$changed --run 'nbdcopy "nbd+unix:///diff1.vdi?socket=$unixsocket" out2' 2> log
grep -Fq "$text" log || { cat log; fail "no warning"; }
same out out2
nbdkit "$PLUGIN" $changed/base.vdi --run 'nbdcopy "$uri" base.raw' 2> log
[ ! -s log ] || fail "$(cat log)"
nbdkit_run file base.raw delta=$changed/diff1.vdi --run 'nbdcopy "$uri" out2' 2> log
grep -Fq "$text" log || { cat log; fail "no warning"; }
same out out2

# ---- QEMU's -------------------------------------------------------------------

# By QEMU, then by us.
compare () {
    local size
    size=$(qemu-img info -f vdi --output=json "$1" | sed -n 's/^    "virtual-size": \([0-9]*\),.*/\1/p')
    nbdkit "$PLUGIN" "$1" --run 'nbdcopy "$uri" have' 2> log
    [ ! -s log ] || fail "$1: $(cat log)"
    [ "$(stat -c %s have)" = "$size" ] || fail "$1: $(stat -c %s have) bytes, not $size"
    qemu-img convert -f vdi -O raw "$1" want
    same have want
}
compare $changed/base.vdi
for size in 1M 7680K 5243392; do
    qemu-img create -q -f vdi q.vdi $size
    compare q.vdi
    # Blocks in an order of their own; the last sector too.
    qemu-io -f vdi -c 'write -P 3 900k 124k' q.vdi > /dev/null
    [ $size = 1M ] || qemu-io -f vdi -c 'write -P 1 3M 1000k' -c 'write -P 2 1000k 512' \
        -c 'write -P 4 4500k 2k' -c "write -P 5 $(($(numfmt --from=iec $size) - 512)) 512" q.vdi > /dev/null
    compare q.vdi
    [ "$(head -c 921601 have | tail -c 1)" = $'\3' ] || fail "$size: what was written is not there"
done
# In its map the disk is a hole where nothing was written.
qemu-img create -q -f vdi q.vdi 8M
qemu-io -f vdi -c 'write -P 7 5M 1M' -c 'write -P 8 2M 1M' q.vdi > /dev/null
nbdkit "$PLUGIN" q.vdi --run 'nbdinfo --map "$uri"' | awk '{ print $1 / 1048576, $2 / 1048576, $3 }' > map
printf '%s\n' '0 2 3' '2 1 0' '3 2 3' '5 1 0' '6 2 3' | diff - map || fail "another map"
