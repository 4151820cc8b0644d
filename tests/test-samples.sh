#!/bin/bash
# Real images, made by VMware's, VirtualBox's and others' programs, read through the
# filter and, level by level, through the plugin: by file= and as exports of dir=.
# tests/data/README.md tells what they are.
#
# VMDKDELTA_SAMPLES=DIR reads the archives of that directory instead.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/samples.sh"
need filter plugin xz nbdcopy nbdinfo qemu-img

whole=$((64 << 20))     # larger disks are read where the map says data
declare -A refusals=(   # what is said of those that must be refused
    [found-govmomi-ttylinux]='no valid footer'
    [found-qemu-afl9]='was damaged by a text-mode transfer'
    [q72-neg-cid]='was made on content [0-9a-f]{8} .*base\.vmdk has content [0-9a-f]{8}'
)
read_ok=0 refused=0 levels=0

# ---- meta.json ----------------------------------------------------------------

# The digests of all levels, base first; none where they are not known.
level_digests () {
    if grep -q sha256_of_each_level_flattened meta.json; then
        strings sha256_of_each_level_flattened
    else
        grep -o '"sha256_flattened_here": *"[0-9a-f]*"' meta.json |
            sed 's/.*"\([0-9a-f]*\)"$/\1/' || :
    fi
}

# ---- The plugin --------------------------------------------------------------

# export_uri NAME: of an export of the server started last.
export_uri () {
    printf 'nbd+unix:///%s?socket=%s' "$(printf %s "$1" | od -An -v -tx1 | tr -d '\n' | tr ' ' %)" "$sock"
}

exports () { nbdinfo --list "$uri" | sed -n 's/^export="\(.*\)":$/\1/p' | sort; }

# expect_exports NAME...: these are listed, and no others.
expect_exports () {
    diff <(printf '%s\n' "$@" | sort) <(exports) || fail "$name: not the expected exports"
}

# plugin_levels: all of the chain.
plugin_levels () {
    local n=${#chain[@]} uri
    for ((level = 0; level < n; level++)); do
        start "$PLUGIN" "file=${chain[level]}"
        expect_exports "${chain[@]:0:level + 1}"
        compare_level "${digests[level]:-null}" "$([ $level -lt $((n - 1)) ] || echo last)"
        stop
    done
    start "$PLUGIN" dir=.
    expect_exports "${chain[@]}"
    for ((level = 0; level < n; level++)); do
        uri=$(export_uri "${chain[level]}")
        compare_level "${digests[level]:-null}" "$([ $level -lt $((n - 1)) ] || echo last)"
    done
    stop
}

# plugin_refuses: the newest; the others are still exports.
plugin_refuses () {
    local newest=${chain[-1]} others=("${chain[@]:0:${#chain[@]} - 1}")
    expect_fail "${refusals[$name]:-.}" nbdkit "$PLUGIN" "file=$newest" --run true
    if [ ${#others[@]} -eq 0 ]; then
        expect_fail 'no VMDK disk or snapshot in this directory' nbdkit "$PLUGIN" dir=. --run true
    else
        start "$PLUGIN" dir=.
        expect_exports "${others[@]}"
        expect_fail . nbdinfo --size "$(export_uri "$newest")"
        stop
    fi
}

# ---- A tree -------------------------------------------------------------------

# VirtualBox's folder of a machine: every image of expected.tree.json.
check_tree () {
    local file uuid parent digest size level=tree dir
    local -A parents=() files=() sizes=() digests=()
    while read -r file uuid parent digest size; do
        files[$uuid]=$file parents[$uuid]=$parent digests[$uuid]=$digest sizes[$uuid]=$size
    done < <(awk -F '"' '$2 == "file" { f = $4 } $2 == "uuid" { u = $4 } $2 == "parent_uuid" { p = $4 }
                         $2 == "sha256_flattened_here" { d = $4 }
                         $2 == "virtual_size" { gsub (/[^0-9]/, "", $3); print f, u, p, d, $3 }' expected.tree.json)
    [ ${#files[@]} -gt 0 ] || fail "$name: nothing in expected.tree.json"

    for uuid in "${!files[@]}"; do
        file=${files[$uuid]} size=${sizes[$uuid]}
        start "$PLUGIN" "file=$file"
        compare_level "${digests[$uuid]}" last
        stop
        [ "${parents[$uuid]}" = base ] || continue
        qemu-img convert -f "${file##*.}" -O raw "$file" "$uuid.raw"
        truncate -s "$size" "$uuid.raw"  # QEMU rounds up
        [ "$(sha256 "$uuid.raw")" = "${digests[$uuid]}" ] || fail "$name: QEMU reads another $file"
    done
    for uuid in "${!files[@]}"; do
        file=${files[$uuid]} size=${sizes[$uuid]} parent=$uuid
        [ "${parents[$uuid]}" != base ] || continue
        while [ "${parents[$parent]}" != base ]; do parent=${parents[$parent]}; done
        serve file "$parent.raw" "delta=$file"
        compare_level "${digests[$uuid]}" last
        stop
    done
    while read -r dir; do
        start "$PLUGIN" "dir=$dir"
        mapfile -t here < <(printf '%s\n' "${files[@]}" | grep "^$dir/[^/]*\$" | sed 's,.*/,,')
        expect_exports "${here[@]}"
        for uuid in "${!files[@]}"; do
            file=${files[$uuid]} size=${sizes[$uuid]}
            [ "${file%/*}" = "$dir" ] || continue
            uri=$(export_uri "${file##*/}")
            compare_level "${digests[$uuid]}" last
        done
        stop
    done < <(printf '%s\n' "${files[@]%/*}" | sort -u)
    check_machine
    echo "$name: as expected, a tree of ${#files[@]} images"
    read_ok=$((read_ok + 1))
}

# check_machine: its machine file, by the names of snapshots; the arrays are check_tree's.
check_machine () {
    local uuid snapshot disk uri n=0
    start "$PLUGIN" file="$(echo */*.vbox)"
    while read -r uuid snapshot; do
        disk=$uuid size=${sizes[$uuid]}
        while [ "${parents[$disk]}" != base ]; do disk=${parents[$disk]}; done
        disk=${files[$disk]##*/} disk=${disk%.*}
        [ "$snapshot" = current ] && uri=$(export_uri "$disk") || uri=$(export_uri "$disk@${snapshot#@}")
        compare_level "${digests[$uuid]}" last
        n=$((n + 1))
    done < <(awk -F '"' '$2 == "uuid" { u = $4 } $2 == "snapshots_here" { on = !/\]/; next } /\]/ { on = 0 }
                         on && $2 != "" { print u, "@" $2 } $2 == "current" && /true/ { print u, "current" }' expected.tree.json)
    [ "$(exports | wc -l)" = $n ] || fail "$name: $n states of disks in the machine, and other exports"
    stop
}

# ---- Comparing ---------------------------------------------------------------

# compare_mebibytes: what expected.chunks.json lists is there, and everything else
# is zeros: by the map, or, where that says data, by reading.
compare_mebibytes () {
    local i n digest
    declare -A expected=()
    while read -r i digest; do expected[$i]=$digest; done < <(sample_mebibytes)

    nbdinfo --map "$uri" > map
    awk '$3 == 0 || $3 == 1 {
             for (i = int($1 / 1048576); i <= int(($1 + $2 - 1) / 1048576); i++) print i
         }' map | sort -nu > todo
    while read -r i; do
        n=$((size - i * 1048576))
        "$builddir/tests/read-range" "$uri" $((i * 1048576)) $((n < 1048576 ? n : 1048576)) > piece
        if [ "${expected[$i]:-}" ]; then
            digest=$(sha256 piece)
            [ "${digest:0:16}" = "${expected[$i]}" ] || fail "$name: MiB $i differs"
            unset "expected[$i]"
        else
            cmp -n "$(stat -c %s piece)" piece /dev/zero || fail "$name: MiB $i is not zeros"
        fi
    done < todo
    # A short last piece is listed even if it is all zeros.
    for i in "${!expected[@]}"; do
        n=$((size - i * 1048576))
        digest=$(head -c $((n < 1048576 ? n : 1048576)) /dev/zero | sha256sum)
        [ "${digest:0:16}" = "${expected[$i]}" ] || fail "$name: zeros by the map, but not so: MiB $i"
    done
}

# compare_level DIGEST LAST: what $uri has.
compare_level () {
    local digest
    [ "$(nbdinfo --size "$uri")" = "$size" ] ||
        fail "$name: $(nbdinfo --size "$uri") bytes, expected $size"
    if [ "$size" -le $whole ]; then
        [ "$1" != null ] || return 0
        digest=$(nbdcopy "$uri" - | sha256sum)
        [ "${digest%% *}" = "$1" ] || fail "$name, level $level: ${digest%% *}, expected $1"
    elif [ "$2" ]; then
        compare_mebibytes
    fi
    levels=$((levels + 1))
}

# ---- One sample --------------------------------------------------------------

check_sample () {
    local chain digests size level args first=0 options=()
    mapfile -t chain < <(strings chain)
    if [ -e expected.tree.json ]; then
        check_tree
        return
    fi
    if [ ${#chain[@]} -eq 0 ]; then  # a single disk
        chain=("$(find . -name '*.vmdk' -printf '%P')")
    fi

    if flat_base "${chain[0]}"; then
        options=(file base.raw)
        first=1
    else
        options=(null size="$(number virtual_size)" delta-allow-no-parent=true)
    fi

    if [ ! -e expected.raw.sha256 ] && [ ! -e expected.chunks.json ] && [ $name != vb-neg-modified-vdi ]; then
        args=(null size=1T delta-allow-no-parent=true "${chain[@]/#/delta=}")
        expect_fail "${refusals[$name]:-.}" nbdkit_run "${args[@]}" --run 'nbdinfo "$uri"'
        echo "$name: refused: $(grep -m 1 error "$T/output")"
        plugin_refuses
        refused=$((refused + 1))
        return
    fi

    size=$(number virtual_size)
    mapfile -t digests < <(level_digests)
    # Its base was changed after that, and its child has all blocks.
    [ $name != vb-neg-modified-vdi ] || digests[0]=null
    if [ $first = 1 ] && [ "$size" -le $whole ] && [ "${digests[0]:-null}" != null ]; then
        [ "$(sha256 base.raw)" = "${digests[0]}" ] || fail "$name: the base is not the expected one"
    fi
    if [ -e expected.raw.sha256 ]; then
        digests[${#chain[@]} - 1]=$(cut -d ' ' -f 1 expected.raw.sha256)
    fi
    if [ $first = ${#chain[@]} ]; then  # nothing but a base
        [ "$(sha256 base.raw)" = "${digests[0]}" ] || fail "$name: differs"
        plugin_levels
        echo "$name: as expected, flat alone"
        read_ok=$((read_ok + 1))
        return
    fi
    for ((level = first; level < ${#chain[@]}; level++)); do
        args=("${options[@]}")
        for file in "${chain[@]:first:level - first + 1}"; do args+=("delta=$file"); done
        serve "${args[@]}"
        compare_level "${digests[level]:-null}" \
            "$([ $level -lt $((${#chain[@]} - 1)) ] || echo last)"
        stop
    done
    plugin_levels
    echo "$name: as expected, ${#chain[@]} images, $((${#chain[@]} - first)) of them deltas to the filter"
    read_ok=$((read_ok + 1))
}

each_sample check_sample
[ $((read_ok + refused)) -gt 0 ] || fail "no samples in $data"
echo "$read_ok samples read ($levels readings), $refused refused"
