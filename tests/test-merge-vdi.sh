#!/bin/bash
# A chain of VDI that VirtualBox made is merged, with each choice of --skip and
# --count; what stays reads as before.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need tool plugin xz nbdcopy qemu-img

tar -C "$T" -xf "$top_srcdir/tests/data/vb-vdi-tiny-2.tar.xz"
cd "$T"/vb-vdi-tiny-2
mapfile -t chain < <(tr -d '\n' < meta.json | sed 's/.*"chain": *\[\([^]]*\)\].*/\1/' | grep -o '[^" ,]*\.vdi')
n=${#chain[@]}
[ "$n" -ge 3 ] || fail 'no chain in meta.json'
digest () { nbdkit "$PLUGIN" "file=$1" --run 'nbdcopy "$uri" -' 2>/dev/null | sha256sum; }
for file in "${chain[@]}"; do digests+=("$(digest "$file")"); done

for ((skip = 0; skip < n - 1; skip++)); do
    for ((count = 1; count <= n - 1 - skip; count++)); do
        rm -rf "$T/x"
        cp -r . "$T/x"
        target=$((n - 1 - skip - count))
        "$TOOL" merge --skip=$skip --count=$count "$T/x/${chain[-1]}"
        for ((i = 0; i < n; i++)); do
            if [ $i -gt $target ] && [ $i -lt $((n - skip)) ]; then
                [ ! -e "$T/x/${chain[i]}" ] || fail "${chain[i]} is still there"
                continue
            fi
            want=${digests[i]}
            [ $i -ne $target ] || want=${digests[n - 1 - skip]}
            [ "$(digest "$T/x/${chain[i]}")" = "$want" ] || fail "${chain[i]} reads otherwise"
        done
        qemu-img check -f vdi "$T/x/${chain[0]}"
        [ -z "$(find "$T/x" -name '*.part' -o -name '.*')" ] || fail 'something was left'
    done
done

# All of it, as QEMU reads it.
rm -rf "$T/x"; cp -r . "$T/x"
"$TOOL" merge "$T/x/${chain[-1]}"
size=$(sed -n 's/.*"virtual_size": *\([0-9]*\).*/\1/p' meta.json)
qemu-img convert -f vdi -O raw "$T/x/${chain[0]}" "$T/q.raw"
truncate -s "$size" "$T/q.raw"
[ "$(sha256 "$T/q.raw")" = "$(cut -d ' ' -f 1 expected.raw.sha256)" ] || fail 'QEMU reads something else'
