#!/bin/bash
# KDMV files have their tables twice.  Where the two say different things, and both can be,
# nothing is read and nothing is written, until somebody says which is right; the two ways
# out (tables=first, tables=copy) are spelled alike in the plugin, the filter and the command.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need plugin filter tool qemu-img nbdcopy

head -c 1M /dev/urandom > disk.img
qemu-img convert -O vmdk disk.img good.vmdk
u32 () { od -An -tu4 -j "$2" -N 4 "$1" | tr -d ' '; }  # FILE OFFSET
poke () { printf '%b' "$3" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none; }  # FILE OFFSET BYTES
rgd=$(u32 good.vmdk 48)
gd=$(u32 good.vmdk 56)
rgt=$(u32 good.vmdk $((rgd * 512)))
gt=$(u32 good.vmdk $((gd * 512)))

plugin_read () { nbdcopy -- [ env LD_PRELOAD="${NBDKIT_PRELOAD:-}" nbdkit "$PLUGIN" "$@" ] out.img; }

# unread FILE: nowhere are zeros made of it, and no writer touches it.
unread () {
    cp "$1" before
    expect_fail 'both can be: tables=first or tables=copy' plugin_read "$1"
    "$TOOL" check "$1" > log && status=0 || status=$?
    [ $status = 3 ] || fail "check ends with status $status"
    grep -q redundant-doubt log || fail "$(cat log)"
    "$TOOL" map "$1" > map
    grep -q damaged map || { cat map; fail 'map does not show it'; }
    expect_fail 'both can be: --tables=first or --tables=copy' "$TOOL" compact "$1"
    rm -f top.vmdk
    cp "$1" base.vmdk
    qemu-img create -q -f vmdk -F vmdk -b base.vmdk top.vmdk
    expect_fail 'both can be: --tables=first or --tables=copy' "$TOOL" merge top.vmdk
    same base.vmdk "$1"
    expect_fail 'make a new file' "$TOOL" merge --tables=copy top.vmdk
    same base.vmdk "$1"
    expect_fail 'add --output=NEW' "$TOOL" compact --tables=copy "$1"
    same "$1" before
}

# by_copy FILE: it is all there.
by_copy () {
    plugin_read "$1" tables=copy
    same out.img disk.img
    rm -f new.vmdk
    "$TOOL" compact --quiet --tables=copy --output=new.vmdk "$1"
    qemu-img compare -q -f vmdk -F raw new.vmdk disk.img
    grep -q ': clean' <("$TOOL" check new.vmdk) || fail "$("$TOOL" check new.vmdk)"
}

# The first directory or table has lost something, which would read as zeros.
cp good.vmdk gde.vmdk
poke gde.vmdk $((gd * 512)) '\0\0\0\0'
unread gde.vmdk
by_copy gde.vmdk
plugin_read gde.vmdk tables=first
same out.img <(head -c 1M /dev/zero)
cp good.vmdk gte.vmdk
poke gte.vmdk $((gt * 512 + 12)) '\0\0\0\0'
unread gte.vmdk
by_copy gte.vmdk

# It is something else, that can be: two grains are exchanged.
cp good.vmdk other.vmdk
entry () { dd if=good.vmdk of=other.vmdk bs=1 skip=$((gt * 512 + 4 * $1)) seek=$((gt * 512 + 4 * $2)) count=4 conv=notrunc status=none; }
entry 3 4
entry 4 3
unread other.vmdk
by_copy other.vmdk

# It is garbage: that was an error before, and now there is a way out.
cp good.vmdk garbage.vmdk
poke garbage.vmdk $((gd * 512)) 'text'
expect_fail 'its redundant copy has .*: tables=copy reads by that' plugin_read garbage.vmdk
by_copy garbage.vmdk

# The copy alone is bad: a warning of check.
for bytes in '\0\0\0\0' 'text'; do
    cp good.vmdk copy.vmdk
    poke copy.vmdk $((rgd * 512)) "$bytes"
    plugin_read copy.vmdk
    same out.img disk.img
    "$TOOL" check copy.vmdk > log || fail "$(cat log)"
    grep -q redundant-differs log || fail "$(cat log)"
    cp good.vmdk copy.vmdk
    poke copy.vmdk $((rgt * 512 + 12)) "$bytes"
    plugin_read copy.vmdk
    same out.img disk.img
done

# The filter, on a delta.
qemu-img create -q -f vmdk -F vmdk -b good.vmdk delta.vmdk
qemu-io -f vmdk -c 'write -q -P 7 64k 64k' delta.vmdk > /dev/null
gt=$(u32 delta.vmdk $(($(u32 delta.vmdk 56) * 512)))
poke delta.vmdk $((gt * 512 + 4)) '\0\0\0\0'
filter_read () { nbdcopy -- [ env LD_PRELOAD="${NBDKIT_PRELOAD:-}" nbdkit --filter="$FILTER" file disk.img delta=delta.vmdk delta-follow=false "$@" ] out.img; }
expect_fail 'both can be: delta-tables=first or delta-tables=copy' filter_read
{ head -c 64K disk.img; head -c 64K /dev/zero | tr '\0' '\7'; tail -c +131073 disk.img; } > want
filter_read delta-tables=copy
same out.img want
filter_read delta-tables=first
same out.img disk.img

expect_fail 'tables=both is not understood; allowed are first, copy and markers' plugin_read good.vmdk tables=both
expect_fail 'delta-tables=x is not understood; allowed are first, copy and markers' filter_read delta-tables=x
expect_fail '--tables=x: allowed are first, copy and markers' "$TOOL" check --tables=x good.vmdk

# A neighbour that cannot be opened because of them is told with the option as it is spelled
# here, though nobody named that file.
mkdir beside; cd beside
cp ../good.vmdk disk.vmdk
cp ../good.vmdk other.vmdk
poke other.vmdk 56 '\377\377\377\377'
"$TOOL" snapshot disk.vmdk > out 2> err
grep -q 'other.vmdk cannot be read.*; --tables=copy reads by the other one' err || fail "$(cat err)"
rm disk-000001.vmdk
nbdkit "$PLUGIN" disk.vmdk write-to=new.vmdk --run true 2> err
grep -q 'other.vmdk cannot be read.*; tables=copy reads' err || fail "$(cat err)"
rm new.vmdk
nbdkit_run null size=1M delta=disk.vmdk delta-allow-no-parent=true delta-write=true --run true 2> err
grep -q 'other.vmdk cannot be read.*; delta-tables=copy reads' err || fail "$(cat err)"
