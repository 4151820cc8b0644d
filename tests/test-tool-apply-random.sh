#!/bin/bash
# Random chains of deltas, applied to a copy of their base: the disk is then
# what the byte model says, a surplus of the target stays as it is, a target
# that is too small is refused and left alone, and the undo file brings the
# old bytes back.
#
# RANDOM_START and RANDOM_COUNT (seeds) can be given: one seed that failed, say.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need tool mkimage

count=${RANDOM_COUNT:-$([ "${SANITIZE:-}" ] && echo 15 || echo 30)}
start=${RANDOM_START:-1}
small=0 surplus=0 zeros=0 several=0 odd=0
declare -A seen=()

# value KEY: of the line that mkimage printed.
value () { local v=" $line "; v=${v#* "$1"=}; printf '%s' "${v%% *}"; }

state () { settled "$1"; sha256 "$1"; stat -c '%y %s %b' "$1"; }

one_seed () {
    local line capacity base options seed=$1 out
    mkdir c
    line=$("$MKIMAGE" random "$seed" c)
    capacity=$(value capacity) base=$(value base)
    IFS=, read -ra deltas <<< "$(value deltas)"
    [ "$(value expected)" = 1 ] || "$MKIMAGE" model "$seed" c/expected.raw
    fresh c/base.raw target
    options=(--quiet --threads=$((1 + seed % 8)))
    # Sizes drawn apart from each other: base.vmdk tells a size that does not fit.
    [ "$(value unclean)" = 0 ] || options+=(--allow-dirty)
    [ ${#deltas[@]} = 1 ] || several=$((several + 1))
    [ $((capacity % 4096)) = 0 ] || odd=$((odd + 1))

    if [ "$base" -lt "$capacity" ]; then
        state target > before
        expect_fail "target has $base bytes.* $capacity bytes.*nothing was written" \
            "$TOOL" apply "${options[@]}" --undo=none.vmdk "${deltas[@]/#/c/}" target
        state target > after
        same before after
        [ ! -e none.vmdk ] || fail "seed $seed: an undo file, though nothing was done"
        small=$((small + 1))
        truncate -s "$capacity" target
    elif [ "$base" -gt "$capacity" ]; then
        surplus=$((surplus + 1))
    fi
    cp --sparse=always target original

    out=$("$TOOL" apply "${options[@]}" --verify --undo=undo.vmdk "${deltas[@]/#/c/}" target 2> err) ||
        { cat err; fail "seed $seed: apply"; }
    [ -z "$out" ] || fail "seed $seed: --quiet says something: $out"
    cmp -n "$capacity" target c/expected.raw || fail "seed $seed: not what the model says"
    [ "$(stat -c %s target)" = "$(stat -c %s original)" ] || fail "seed $seed: the size changed"
    cmp -i "$capacity" target original || fail "seed $seed: the surplus changed"

    "$TOOL" apply --quiet --ignore-cid undo.vmdk target 2> err || { cat err; fail "seed $seed: undo"; }
    cmp target original || fail "seed $seed: not brought back"

    rm -f target.vmdkdelta-state
    "$TOOL" apply "${options[@]}" --json --dry-run "${deltas[@]/#/c/}" target > json 2> err || { cat err; fail "seed $seed: a dry run after all"; }
    cmp target original || fail "seed $seed: a dry run wrote"
    ! grep -q '"zero-bytes": [1-9]' json || zeros=$((zeros + 1))
    for f in $("$TOOL" info "${deltas[@]/#/c/}" 2>/dev/null |
                   grep -Eo '\b(COWD|KDMV|SEsparse)\b' | sort -u); do seen[$f]=1; done
    rm -rf c target original undo.vmdk
}

for ((s = start; s < start + count; s++)); do one_seed $s; done
echo "$count seeds: $several with several deltas, $small too small at first, $surplus with a" \
     "surplus, $zeros with zeros, $odd of an odd size; formats: ${!seen[*]}"
if [ -z "${RANDOM_START:-}" ]; then
    [ $several -gt 0 ] && [ $small -gt 0 ] && [ $surplus -gt 0 ] && [ $zeros -gt 0 ] &&
        [ $odd -gt 0 ] || fail "the seeds do not have all cases any more"
fi
