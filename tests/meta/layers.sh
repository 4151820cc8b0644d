#!/bin/bash
# Dependencies point one way: filter, plugin, tool -> lib.  The library knows
# nothing of nbdkit or libnbd; the others see of it only vmdkdelta.h.  common/
# is what filter and plugin share.
. "$top_srcdir/tests/lib.sh"
shopt -s nullglob
cd "$top_srcdir"
bad=0

# includes FILE...: print "FILE:LINE:NAME" for each #include, <> and "".
includes () {
    grep -nHE '^[[:space:]]*#[[:space:]]*include' "$@" /dev/null |
        sed -E 's/^([^:]+:[0-9]+):.*[<"]([^>"]+)[>"].*$/\1:\2/' || :
}

while IFS=: read -r file line name; do
    case $name in
        nbdkit*|libnbd*|*/*nbdkit*|../*)
            echo "$file:$line: the library must not include $name"; bad=1 ;;
    esac
done < <(includes lib/*.[ch])

for dir in common filter plugin tool; do
    while IFS=: read -r file line name; do
        [ "$name" != vmdkdelta.h ] || continue
        [ ! -e "$dir/$name" ] || continue
        case $dir in filter|plugin) [ ! -e "common/$name" ] || continue ;; esac
        case $name in ../*) wrong=1 ;; *) wrong= ;; esac
        for other in lib common filter plugin tool; do [ ! -e "$other/$name" ] || wrong=1; done
        if [ "$wrong" ]; then
            echo "$file:$line: $dir may include vmdkdelta.h and its own headers, not $name"; bad=1
        fi
    done < <(includes "$dir"/*.[ch])
done
[ $bad -eq 0 ] || fail 'includes that go the wrong way, listed above'
