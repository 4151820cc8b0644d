#!/bin/bash
# nbdkit loads filters and plugins with RTLD_GLOBAL.  Ours both contain the
# library, so neither may export any of it, or one would call into the other.
. "${top_srcdir:?run it with make check}/tests/lib.sh"

# check MODULE REQUIRED ALLOWED: it exports REQUIRED, and else only what matches.
check () {
    local names
    names=$(nm -D --defined-only "$1" | awk '{ print $3 }' | sort)
    echo "$1 exports:" $names
    grep -qx "$2" <<<"$names" || fail "$1 does not export $2"
    if grep -vxE "$2|$3" <<<"$names"; then fail "$1 exports the names above"; fi
}
[ -z "${FILTER:-}" ] || check "$FILTER" filter_init 'vmdkdelta_debug_[a-z0-9_]+'
[ -z "${PLUGIN:-}" ] || check "$PLUGIN" plugin_init 'vmdk_debug_[a-z0-9_]+'
