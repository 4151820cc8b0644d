#!/bin/bash
# The map of a chain: as qemu-img sees it, and as the data itself is.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need tool mkimage qemu-img qemu-io

# rows FILE: JSON of either program as "start length depth present zero data offset",
# parts that continue each other joined (a stream's grains stand alone in ours).
rows () {
    sed -n 's/.*"start": *\([0-9]*\), *"length": *\([0-9]*\), *"depth": *\([0-9]*\), *"present": *\([a-z]*\), *"zero": *\([a-z]*\), *"data": *\([a-z]*\)\(.*\)/\1 \2 \3 \4 \5 \6 \7/p' "$1" |
        awk '{ o = "-"; if (match ($0, /"offset": *[0-9]+/)) { o = substr ($0, RSTART, RLENGTH); sub (/.* /, "", o) }
               if ($5 == "true" && $6 == "true") $5 = "false"  # a hole in a flat file
               k = $3 " " $4 " " $5 " " $6
               if (n && k == kk && (o == "-" ? oo == "-" : oo != "-" && oo + len == o)) { len += $2; next }
               if (n) print start, len, kk, oo
               n = 1; start = $1; len = $2; kk = k; oo = o }
             END { print start, len, kk, oo }'
}

# compare FILE: with qemu-img map.
compare () {
    qemu-img map --output=json "$1" > q.json
    "$TOOL" map --json "$1" > o.json
    rows q.json > q
    rows o.json > o
    diff q o > diff || { head diff; fail "$1: qemu-img (<) and vmdkdelta (>) differ"; }
    covered o.json
    joined o.json
}

# covered FILE: each byte once, in order.
covered () {
    rows "$1" | awk '$1 != at { bad = 1 } { at = $1 + $2 } END { print at; exit bad }' > size ||
        fail "$1 does not cover the disk once"
}

# joined FILE: no two neighbours that could be one part.
joined () {
    sed -n 's/.*"start": *[0-9]*, *"length": *[0-9]*, *\("depth".*"kind": "\(zero\|hole\|base\)"\).*/\1/p; t; s/.*/-/p' "$1" |
        awk '$0 != "-" && $0 == last { exit 1 } { last = $0 }' || fail "$1: parts that could be one"
}

# ---- Chains made by qemu-img ----------------------------------------------------

n=0
for format in monolithicSparse twoGbMaxExtentSparse monolithicFlat; do
    dir=$format
    mkdir "$dir"
    (
        cd "$dir"
        qemu-img create -q -f vmdk -o subformat=$format d0.vmdk 6M
        qemu-io -f vmdk -c 'write -P 1 0 2M' -c 'write -P 2 3M 64K' -c 'write -P 3 4M 100K' d0.vmdk
        for i in 1 2 3; do
            qemu-img create -q -f vmdk -o zeroed_grain=on -b d$((i - 1)).vmdk -F vmdk d$i.vmdk
            qemu-io -f vmdk -c "write -P $((i + 10)) $((i * 300))K 200K" -c "write -z $((i + 1))M 256K" \
                -c "write -P $((i + 20)) $((5 * 1024 + i * 100))K 64K" d$i.vmdk
        done
    ) > log
    for i in 0 1 2 3; do
        compare "$dir/d$i.vmdk"
        n=$((n + 1))
    done
done
qemu-img convert -O vmdk -o subformat=streamOptimized monolithicSparse/d3.vmdk s.vmdk
compare s.vmdk
grep -q '"compressed": true' o.json
echo "$n chains are as qemu-img says"

# ---- Random chains: what the map says is what is there ----------------------------

# check_content EXPECTED: each part that lies in a file has the bytes there; zeros are zeros.
check_content () {
    local start length kind offset file
    while IFS=$'\t' read -r start length kind offset file; do
        case $kind in
            data) cmp -n "$length" -i "$start:$offset" "$1" "$file" ;;
            zero|hole) cmp -n "$length" -i "$start:0" "$1" /dev/zero ;;
            compressed) [ -s "$file" ] ;;
            *) fail "kind $kind" ;;
        esac || fail "$start+$length: not as the map says ($kind)"
    done < <(sed -n 's/.*"start": \([0-9]*\), "length": \([0-9]*\),.*"kind": "\([a-z]*\)"\(, "offset": \([0-9]*\)\)\?\(, "filename": "\(.*\)"\)\? }.*/\1\t\2\t\3\t\5\t\7/p' o.json |
        sed 's/\t\t/\t-\t/g')
}
checked=0
for seed in $(seq 300 311); do
    mkdir r
    words=$("$MKIMAGE" random "$seed" r)
    deltas=${words##*deltas=}
    IFS=, read -r -a files <<< "${deltas%% *}"
    if [[ $words = *expected=1* ]] && "$TOOL" map --json "r/${files[-1]}" > o.json 2> err; then
        covered o.json
        [ "$(cat size)" = "$(stat -c %s r/expected.raw)" ] || fail "seed $seed: size"
        joined o.json
        ! grep -q '"kind": "\(base\|damaged\)"' o.json || continue
        check_content r/expected.raw
        checked=$((checked + 1))
    fi
    rm -r r
done
echo "$checked random chains have the bytes where the map says"

# ---- Without a base ----------------------------------------------------------------

"$TOOL" map --no-parents --json monolithicSparse/d3.vmdk > o.json
covered o.json
! grep -v '"depth": 0' o.json | grep start || fail 'more than one layer'
grep -q '"present": false, "zero": false, "data": false, "compressed": false, "kind": "base" }' o.json
"$TOOL" map --json monolithicSparse/d[23].vmdk > o.json
covered o.json
grep -q '"depth": 1, .*"kind": "base"' o.json
grep -q '"depth": 1.*d2.vmdk' o.json
# All of them, listed: the same as found.
"$TOOL" map --json monolithicSparse/d[0123].vmdk | sed 's/, "filename".*//' > listed
"$TOOL" map --json monolithicSparse/d3.vmdk | sed 's/, "filename".*//' > found
same listed found
expect_fail 'order is wrong' "$TOOL" map monolithicSparse/d2.vmdk monolithicSparse/d1.vmdk

mkdir alone
cp monolithicSparse/d3.vmdk alone/
expect_fail 'add --no-parents' "$TOOL" map alone/d3.vmdk
"$TOOL" map --no-parents alone/d3.vmdk > out
"$TOOL" map --parent-path=monolithicSparse --json alone/d3.vmdk | sed 's/, "filename".*//' > found
same listed found
"$TOOL" map --parent=monolithicSparse/d2.vmdk --json alone/d3.vmdk | sed 's/, "filename".*//' > found
same listed found

# Text: the same numbers.
"$TOOL" map monolithicSparse/d3.vmdk | awk 'NR > 1 { print $1, $2, $3 }' > text
"$TOOL" map --json monolithicSparse/d3.vmdk |
    sed -n 's/.*"start": \([0-9]*\), "length": \([0-9]*\),.*"kind": "\([a-z]*\)".*/\1 \2 \3/p' > json
same text json
