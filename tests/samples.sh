# Real images, one archive each (tests/data/README.md): for tests that read all of them.
# After this, $data is where they are; VMDKDELTA_SAMPLES=DIR is another place.

data=${VMDKDELTA_SAMPLES:-$top_srcdir/tests/data}

# each_sample FUNCTION [GLOB...]: unpack each archive whose name without ending fits, and
# call FUNCTION in the directory that was in it, with its name in $name.
each_sample () {
    local function=$1 archive pattern
    shift
    [ $# -gt 0 ] || set -- '*'
    for archive in "$data"/*.tar.xz; do
        name=${archive##*/} name=${name%.tar.xz}
        for pattern; do
            # shellcheck disable=SC2254
            case $name in
                $pattern)
                    mkdir "$T/x"
                    tar -C "$T/x" -xf "$archive"
                    cd "$T/x/"*/
                    $function
                    cd "$T"
                    rm -rf "$T/x"
                    break ;;
            esac
        done
    done
}

# strings KEY: the elements of an array in meta.json, one a line.
strings () {
    tr -d '\n' < meta.json | sed -n 's/.*"'"$1"'": *\[\([^]]*\)\].*/\1/p' |
        grep -o '"[^"]*"\|null' | tr -d '"' || :
}

# number KEY: in meta.json.
number () { tr -d '\n' < meta.json | sed -n 's/.*"'"$1"'": *\([0-9]*\).*/\1/p'; }

# flat_base DESCRIPTOR: if all its extents are flat, put them together as base.raw.
flat_base () {
    local sectors name offset at=0
    head -c 512 "$1" | grep -aq '^# Disk DescriptorFile' || return 1
    ! grep -aEq '^(RW|RDONLY|NOACCESS) +[0-9]+ +(SPARSE|VMFSSPARSE|SESPARSE|ZERO)' "$1" || return 1
    while read -r _ sectors _ name offset; do
        name=${name//\"/}
        dd if="$name" of=base.raw bs=1M conv=notrunc,sparse status=none \
            iflag=skip_bytes,count_bytes skip=$((${offset:-0} * 512)) \
            count=$((sectors * 512)) oflag=seek_bytes seek=$((at * 512)) || fail "$1: $name"
        at=$((at + sectors))
    done < <(tr -d '\r\0' < "$1" | grep -aE '^(RW|RDONLY) +[0-9]+ +(FLAT|VMFS) ')
    [ $at -gt 0 ] || return 1
    truncate -s $((at * 512)) base.raw
}

# sample_mebibytes: "NUMBER DIGEST" for each MiB that expected.chunks.json lists, sorted.
sample_mebibytes () {
    grep -o '"[0-9]*": *"[0-9a-f]\{16\}"' expected.chunks.json | tr -d '":' | sort -n
}
