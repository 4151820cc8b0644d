#!/bin/bash
# Random chains of COWD, KDMV, streams and SEsparse over a flat base, as mkimage
# draws them, read by the plugin at every level and compared with its model.
#
# RANDOM_START and RANDOM_COUNT (seeds) can be given: one seed that failed, say.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need plugin mkimage nbdcopy

start=${RANDOM_START:-1}
count=${RANDOM_COUNT:-$([ "${SANITIZE:-}" ] && echo 20 || echo 40)}
read=0 left=0

check_seed () {  # SEED
    local words w newest cap=0 expected=0 options=() f
    declare -a deltas
    words=$("$MKIMAGE" random "$1" .)
    for w in $words; do
        case $w in
            capacity=*) cap=${w#*=} ;;
            expected=*) expected=${w#*=} ;;
            deltas=*) IFS=, read -ra deltas <<< "${w#*=}" ;;
        esac
    done
    # A link without a descriptor can be the newest one only: a hint has to lead to
    # a descriptor.  Its own parent is given.
    for f in "${deltas[@]}"; do
        grep -aqi '^ *parentCID' <(head -c 1M "$f") && continue
        if [ "$f" != "${deltas[-1]}" ]; then expected=0; fi
        options=(parent=base.vmdk)
        [ ${#deltas[@]} -eq 1 ] || options=(parent="${deltas[-2]}")
    done
    if [ "$expected" = 0 ]; then
        left=$((left + 1))
        return
    fi
    truncate -s %512 base.raw    # a descriptor counts in sectors
    newest=${deltas[-1]}
    nbdkit "$PLUGIN" "$newest" "${options[@]}" --run "nbdcopy \"\$uri\" '$T/out.raw'" 2> "$T/log" ||
        { cat "$T/log" >&2; fail "seed $1: not read"; }
    [ "$(stat -c %s "$T/out.raw")" = "$cap" ] || fail "seed $1: size"
    cmp "$T/out.raw" expected.raw || fail "seed $1 differs; see mkimage show $1"
    read=$((read + 1))
}

for ((seed = start; seed < start + count; seed++)); do
    mkdir "$T/x"
    cd "$T/x"
    check_seed $seed
    cd "$T"
    rm -rf "$T/x"
done
echo "$read chains read, $left left out (a parent without a descriptor, or large)"
[ "$count" -lt 10 ] || [ $read -gt $((count / 4)) ] || fail "too few were read"
