#!/bin/bash
# The format that CONTRIBUTING.md adds in one file: it compiles without a warning, and the
# command reads it.  What it says of damaged files is so.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need tool cc make

# A copy of the sources, with the objects that are there already; what is not newer than
# they are is not compiled again.
mkdir -p "src/build/$(basename "$builddir")"
cp -a "$top_srcdir"/{Makefile,lib,remote,tool,docs} src
cp -a "$builddir"/{lib,remote,tool,flags} "src/build/$(basename "$builddir")"
rm -f src/tool/vmdkdelta "src/build/$(basename "$builddir")/lib"/*.a

text=$top_srcdir/CONTRIBUTING.md
awk '/^```/ { on = ($0 == "```c"); next } on' "$text" > src/lib/format/toy.c
mapfile -t lines < <(awk '/^```/ { inside = !inside; on = inside && $0 == "```"; next } on' "$text")
[ ${#lines[@]} = 2 ] || fail "expected the two lines to add, got: ${lines[*]}"
touch -r src/lib/format/image.h time
sed -i "/^extern const struct vd_format vd_format_vdi;/a ${lines[0]}" src/lib/format/image.h
touch -r time src/lib/format/image.h  # only image.c and toy.c need what is new there
sed -i "/^  &vd_format_vdi,/a \\${lines[1]}" src/lib/format/image.c

grep -q vd_format_toy src/lib/format/image.h || fail 'image.h has no line to add to'
touch start
what=${TOOL#"$top_srcdir"/}
# Not as a part of the make that runs the tests.
unset MAKEFLAGS MFLAGS MAKELEVEL
make -C src SANITIZE="$SANITIZE" VARIANT="$(basename "$builddir")" "$what" > make.log 2>&1 ||
    { cat make.log; fail 'it does not compile'; }
if grep warning make.log; then fail 'it compiles with the warnings above'; fi
find src -name '*.o' -newer start | sort > compiled
[ "$(sed 's,.*/,,' compiled | tr '\n' ' ')" = 'image.o toy.o ' ] || { cat compiled; fail 'not only image.c and toy.c were compiled'; }
tool=src/$what

part () { dd if="$1" iflag=skip_bytes,count_bytes skip="$2" count="$3" status=none; }  # FILE OFFSET LENGTH

# toy FILE ENTRY...: of a disk of 150000 bytes; 64 KiB of the file, each of one letter.
le () { local i v=$1; for ((i = 0; i < $2; i++)); do printf "\\x$(printf %x $((v >> 8 * i & 255)))"; done; }
toy () {
    local file=$1 e
    shift
    { printf 'TOY!\0\0\0\0'; le 150000 8; for e; do le "$e" 4; done; } > "$file"
    truncate -s 64K "$file"
    for e in A B; do head -c 64K /dev/zero | tr '\0' $e; done >> "$file"
}
head -c 150000 /dev/urandom > base.img
toy x.toy 2 0 1

"$tool" info x.toy > info
grep -q TOY info || { cat info; fail 'info does not know it'; }
{ part x.toy 131072 65536; part base.img 65536 65536; part x.toy 65536 18928; } > want
"$tool" map --no-parents x.toy > map
[ "$(grep -c 'x\.toy' map)" = 2 ] || { cat map; fail 'map shows something else'; }
"$tool" check x.toy > check || { cat check; fail 'check does not take it'; }
"$tool" apply --quiet x.toy base.img
same base.img want

# An entry that points past the end; a table that is cut off.
cp want base.img
toy bad.toy 1 3 0
expect_fail 'bad.toy: the grain at 65536 is at byte 196608 according to the table, but the file ends at 196608' \
    "$tool" apply --quiet bad.toy base.img
same base.img want
head -c 24 x.toy > cut.toy
expect_fail 'cut.toy: the size of the disk at byte 8 is 150000; 1 to 131072 is possible in a file of 24 bytes' \
    "$tool" apply --quiet cut.toy base.img
head -c 12 x.toy > cut.toy
expect_fail 'cut.toy' "$tool" apply --quiet cut.toy base.img
same base.img want
