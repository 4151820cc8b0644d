#!/bin/bash
# Real images, made by VMware's, VirtualBox's and others' programs, read through
# the filter.  tests/data/README.md tells what they are.
#
# VMDKDELTA_SAMPLES=DIR reads the archives of that directory instead.
. "$top_srcdir/tests/lib.sh"
need filter xz nbdcopy nbdinfo

data=${VMDKDELTA_SAMPLES:-$top_srcdir/tests/data}
whole=$((64 << 20))     # larger disks are read where the map says data
declare -A refusals=(   # what is said of those that must be refused
    [found-govmomi-ttylinux]='no valid footer'
    [found-qemu-afl9]='was damaged by a text-mode transfer'
    [q72-neg-cid]='was made on content [0-9a-f]{8} .*base\.vmdk has content [0-9a-f]{8}'
)
read_ok=0 refused=0 vdi=0 levels=0

# ---- meta.json, as far as it is needed ---------------------------------------

# strings KEY: the elements of an array, one a line.
strings () {
    sed -n 's/.*"'"$1"'": *\[\([^]]*\)\].*/\1/p' <<< "$meta" |
        grep -o '"[^"]*"\|null' | tr -d '"' || :
}

number () { sed -n 's/.*"'"$1"'": *\([0-9]*\).*/\1/p' <<< "$meta"; }

# The digests of all levels, base first; none where they are not known.
level_digests () {
    if [[ $meta = *sha256_of_each_level_flattened* ]]; then
        strings sha256_of_each_level_flattened
    else
        grep -o '"sha256_flattened_here": *"[0-9a-f]*"' <<< "$meta" |
            sed 's/.*"\([0-9a-f]*\)"$/\1/' || :
    fi
}

# ---- The base ----------------------------------------------------------------

# flat_base DESCRIPTOR: if all its extents are flat, put them together as base.raw.
flat_base () {
    local sectors type name offset at=0
    head -c 512 "$1" | grep -aq '^# Disk DescriptorFile' || return 1
    ! grep -aEq '^(RW|RDONLY|NOACCESS) +[0-9]+ +(SPARSE|VMFSSPARSE|SESPARSE|ZERO)' "$1" || return 1
    while read -r _ sectors type name offset; do
        name=${name//\"/}
        dd if="$name" of=base.raw bs=1M conv=notrunc,sparse status=none \
            iflag=skip_bytes,count_bytes skip=$((${offset:-0} * 512)) \
            count=$((sectors * 512)) oflag=seek_bytes seek=$((at * 512))
        at=$((at + sectors))
    done < <(tr -d '\r\0' < "$1" | grep -aE '^(RW|RDONLY) +[0-9]+ +(FLAT|VMFS) ')
    [ $at -gt 0 ] || return 1
    truncate -s $((at * 512)) base.raw
}

# ---- Comparing ---------------------------------------------------------------

# compare_mebibytes: what expected.chunks.json lists is there, and everything else
# is zeros: by the map, or, where that says data, by reading.
compare_mebibytes () {
    local i n digest
    declare -A expected=()
    while read -r i digest; do expected[$i]=$digest; done < <(
        grep -o '"[0-9]*": *"[0-9a-f]\{16\}"' expected.chunks.json | tr -d '":')

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
    meta=$(tr -d '\n' < meta.json)
    mapfile -t chain < <(strings chain)
    if [ -n "$(find . -name '*.vdi' -print -quit)" ]; then
        echo "$name: not read: VDI is not supported yet"
        vdi=$((vdi + 1))
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

    if [ ! -e expected.raw.sha256 ] && [ ! -e expected.chunks.json ]; then
        args=(null size=1T delta-allow-no-parent=true "${chain[@]/#/delta=}")
        expect_fail "${refusals[$name]:-.}" nbdkit_run "${args[@]}" --run 'nbdinfo "$uri"'
        echo "$name: refused: $(grep -m 1 error "$T/output")"
        refused=$((refused + 1))
        return
    fi

    size=$(number virtual_size)
    mapfile -t digests < <(level_digests)
    if [ $first = 1 ] && [ "$size" -le $whole ] && [ "${digests[0]:-null}" != null ]; then
        [ "$(sha256 base.raw)" = "${digests[0]}" ] || fail "$name: the base is not the expected one"
    fi
    if [ -e expected.raw.sha256 ]; then
        digests[${#chain[@]} - 1]=$(cut -d ' ' -f 1 expected.raw.sha256)
    fi
    if [ $first = ${#chain[@]} ]; then  # nothing but a base
        [ "$(sha256 base.raw)" = "${digests[0]}" ] || fail "$name: differs"
        echo "$name: flat alone"
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
    echo "$name: as expected, $((${#chain[@]} - first)) deltas"
    read_ok=$((read_ok + 1))
}

shopt -s nullglob
for archive in "$data"/*.tar.xz; do
    name=${archive##*/} name=${name%.tar.xz}
    mkdir "$T/x"
    tar -C "$T/x" -xf "$archive"
    cd "$T/x/"*/
    check_sample
    cd "$T"
    rm -rf "$T/x"
done
[ $((read_ok + refused)) -gt 0 ] || fail "no samples in $data"
echo "$read_ok samples read ($levels levels), $refused refused, $vdi with VDI left out"
