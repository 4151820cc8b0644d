#!/bin/bash
# Does QEMU read what the maker makes as the model says?
#
#   prove.sh [COUNT [START]]      1000 cases from seed 1 on
#
# Makes the random chain of each seed; those that QEMU is expected to read
# are converted to raw and compared, up to the capacity, with the model.
# (QEMU takes the capacity from the header, which may be rounded up to a
# grain: more than that is a failure.)
#
# MKIMAGE names the program, QEMU_IMG the other one; TMPDIR is used.

set -u
count=${1:-1000}
start=${2:-1}
here=$(cd "$(dirname "$0")" && pwd)
mkimage=${MKIMAGE:-$here/../mkimage}
qemu_img=${QEMU_IMG:-qemu-img}

dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
passed=0 failed=0
declare -A why

fail ()
{
    echo "seed $1: $2"
    failed=$((failed + 1))
}

word ()
{
    local rest=" $line "
    rest=${rest#*" $1="}
    echo "${rest%%" "*}"
}

for ((seed = start; seed < start + count; seed++)); do
    rm -rf "$dir/case"
    mkdir "$dir/case"
    if ! line=$("$mkimage" random "$seed" "$dir/case"); then
        fail "$seed" "cannot be made"
        continue
    fi
    capacity=$(word capacity)
    reason=$(word why)
    if [ "$(word qemu_ok)" = 0 ]; then
        why[$reason]=$((${why[$reason]:-0} + 1))
        continue
    fi
    expected=$dir/case/expected.raw
    if [ "$(word expected)" = 0 ] &&
       ! "$mkimage" model "$seed" "$expected"; then
        fail "$seed" "no model"
        continue
    fi
    if ! text=$("$qemu_img" convert -f vmdk -O raw \
                "$dir/case/$(word qemu)" "$dir/case/qemu.raw" 2>&1); then
        fail "$seed" "$text"
        continue
    fi
    size=$(stat -c %s "$dir/case/qemu.raw")
    if [ "$size" -lt "$capacity" ] ||
       [ "$size" -ge $((capacity + 1048576)) ]; then
        fail "$seed" "QEMU has $size bytes instead of $capacity"
        continue
    fi
    if ! text=$(cmp -n "$capacity" "$dir/case/qemu.raw" "$expected" 2>&1); then
        fail "$seed" "$text"
        continue
    fi
    passed=$((passed + 1))
done

total=0
for reason in "${!why[@]}"; do
    total=$((total + ${why[$reason]}))
done
echo "not for QEMU: $total of $count"
for reason in "${!why[@]}"; do
    echo "  ${why[$reason]} $reason"
done | sort -rn -k1
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
