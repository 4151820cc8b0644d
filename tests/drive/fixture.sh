# shellcheck shell=bash
# Images for the tests of the filter.  Source it after lib.sh.

# base [SIZE]: base.raw, with data and holes.
base () {
    "$MKIMAGE" make kdmv base.tmp --capacity="${1:-4M}" --grain=4096 --runs=16 --fill=60 \
        --content=noise --layer=20 --seed=20 --raw=base.raw
    rm base.tmp
}

# delta NAME FORMAT [OPTION...]: NAME.vmdk, a descriptor, its extent NAME-FORMAT.vmdk,
# and NAME.raw, which is zeros where the delta holds nothing.  The content is noise,
# so that no sector that it holds is zeros.  Options are those of mkimage make.
delta () {
    local name=$1 format=$2
    shift 2
    "$MKIMAGE" make "$format" "$name-$format.vmdk" --capacity=4M --seed=${#name} \
        --content=noise --layer=1 --runs=3 --fill=40 --parent-cid=01234567 \
        --descriptor="$name.vmdk" --raw="$name.raw" "$@"
}

# overlay FILE NAME.raw...: lay what delta made over FILE.
overlay () {
    local file=$1 raw
    shift
    for raw; do dd if="$raw" of="$file" bs=512 conv=notrunc,sparse status=none; done
}

# simple: base.raw, the delta x.vmdk over it, and expected.raw.
simple () {
    base
    delta x "${1:-cowd}"
    cp base.raw expected.raw
    overlay expected.raw x.raw
}

# read_range OFFSET LENGTH: of $uri, to stdout.
read_range () { "$builddir/tests/read-range" "$uri" "$@"; }

# poke FILE OFFSET HEX...: overwrite bytes.
poke () {
    local file=$1 offset=$2
    shift 2
    printf "$(printf '\\x%s' "$@")" | dd of="$file" bs=1 seek="$offset" conv=notrunc status=none
}

# peek32 FILE OFFSET: print a little-endian number.
peek32 () { od -An -v -tu4 -j "$2" -N 4 --endian=little "$1" | tr -d ' '; }
