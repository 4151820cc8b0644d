#!/bin/bash
# Pictures: each cell is right, they fit the terminal, and nothing in them is active.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need tool qemu-img qemu-io
unset NO_COLOR COLUMNS

qemu-img create -q -f vmdk a.vmdk 64M
qemu-io -f vmdk -c 'write -P 1 0 8M' -c 'write -P 1 16M 64K' a.vmdk > log
qemu-img create -q -f vmdk -o zeroed_grain=on -b a.vmdk -F vmdk b.vmdk
qemu-io -f vmdk -c 'write -P 2 4M 2M' -c 'write -z 32M 4M' -c 'write -P 2 40M 64K' b.vmdk > log

COLUMNS=80 "$TOOL" map --picture b.vmdk > out
cat out
# 64 cells a row, of 64 KiB: 16 rows of 4 MiB.
grep -qx "       0 B  A\{64\}" out
grep -qx "     4 MiB  B\{32\}A\{32\}" out
grep -qx "    16 MiB  A\.\{63\}" out
grep -qx "    32 MiB  0\{64\}" out
grep -qx "    40 MiB  B\.\{63\}" out
grep -qx '  B *2.1 MiB *3.2 %  b.vmdk' out
grep -q '^  A *6.1 MiB .* a.vmdk$' out
grep -q '^  0 *4 MiB .* zeros$' out
for width in 20 40 79 80 132 300; do
    COLUMNS=$width "$TOOL" map --picture b.vmdk | sed '1d; /^ *[A-Z.0] /d; /small letter/d' > out
    awk -v w=$width 'length > w && w > 30 { exit 1 }' out || fail "wider than $width"
    [ "$(sed -n 's/^ *[0-9.]* [KMGTPE]*i*B  //p' out | wc -l)" -le 16 ] || fail "too many rows"
done

# Less than half of a cell: a small letter.
qemu-img create -q -f vmdk -b a.vmdk -F vmdk c.vmdk 64G
qemu-io -f vmdk -c 'write -P 2 32G 64K' c.vmdk > log
COLUMNS=80 "$TOOL" map --picture c.vmdk > out 2> err
grep -qx '    32 GiB  b\.*' out
grep -q '^  B *64 KiB *<0.1 %  c.vmdk' out

# Colours: only when wanted.
has_color () { grep -q $'\033' out; }
"$TOOL" map --picture b.vmdk > out; ! has_color || fail 'colours in a pipe'
"$TOOL" map --picture --color=always b.vmdk > out; has_color
LC_ALL=C.UTF-8 "$TOOL" map --picture --color=always c.vmdk > out 2> err; has_color
grep -q $'\xe2\x96\x82' out
if have_terminal; then
    tty () { TERM=xterm script -qec "$*" /dev/null < /dev/null > out; }
    tty "$TOOL" map --picture b.vmdk; has_color || fail 'no colours in a terminal'
    tty env NO_COLOR=1 "$TOOL" map --picture b.vmdk; ! has_color || fail 'NO_COLOR'
    tty env TERM=dumb "$TOOL" map --picture b.vmdk; ! has_color || fail 'TERM=dumb'
    tty "$TOOL" map --picture --color=never b.vmdk; ! has_color || fail '--color=never'
fi

# SVG: well-formed, also with a name that would be markup.
"$TOOL" map --picture=p.svg b.vmdk > out
[ ! -s out ]
grep -q '^<svg' p.svg
grep -qx '</svg>' p.svg
for layer in a.vmdk b.vmdk; do grep -q ">$layer</text>" p.svg; done
cp a.vmdk '<b>&"x.vmdk'
"$TOOL" map --picture=q.svg '<b>&"x.vmdk'
grep -q '>&lt;b&gt;&amp;&quot;x.vmdk<' q.svg
if command -v xmllint > /dev/null; then xmllint --noout p.svg q.svg; fi
"$TOOL" map --picture=p.svg a.vmdk   # replaced
! grep -q b.vmdk p.svg || fail 'the old picture'
[ -z "$(find . -name '*.new')" ] || fail 'a file is left'
expect_fail 'No such file' "$TOOL" map --picture=nowhere/p.svg a.vmdk
