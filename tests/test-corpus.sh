#!/bin/bash
# The inputs of the fuzz targets (fuzz/), and all that were ever found with them
# (found-*), are given to the targets: every property that they check holds.
. "${top_srcdir:?run it with make check}/tests/lib.sh"

for dir in "$top_srcdir"/tests/corpus/*/; do
    t=$(basename "$dir")
    "$builddir/fuzz/target-$t" "$dir" >"$T/out" 2>&1 || { tail -n 30 "$T/out"; fail "the last of these inputs, to $t"; }
    [ "$(tail -n 2 "$T/out" | sed -n 's/ files, .*//p')" = "$(find "$dir" -type f | wc -l)" ] ||
        { cat "$T/out"; fail "$t did not take all files"; }
done

# A target that does not look at its input would pass: what is cut must show.
[ "$(find "$top_srcdir/fuzz" -name 'target-*.c' | wc -l)" = "$(find "$top_srcdir/tests/corpus" -mindepth 1 -maxdepth 1 | wc -l)" ] ||
    fail 'a target has no inputs in tests/corpus, or the other way round'
