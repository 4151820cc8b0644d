#!/bin/bash
# Dependencies point one way.  The tables below are the rules; what follows them only
# compares.  Nothing else in the tree says who may use whom.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need nm awk
shopt -s nullglob
cd "$top_srcdir"
bad=0
complain () { echo "$*"; bad=1; }

# Each wing of lib/, and the wings that it may include and call.  A wing stands below all
# that it may use, so there can be no circles.
wings='
base
file     base
format   base file
chain    base file format
read     base file format chain
guest    base
check    base file format chain
create   base file format chain check
write    base file format chain read check
apply    base file format chain read
compact  base file format chain read guest check write
vbox     base file format chain
vmx      base file format chain
machine  base file format chain vbox vmx
merge    base file format chain read check create write apply compact vbox
'

# What each front end may link of the library.  All of them include vmdkdelta.h and
# nothing else of it; filter and plugin share common/.  remote/ is theirs: the library has
# only a pointer to it (vd_opts.open).
faces='
common   base file format chain read
remote   base file
filter   base file format chain read check create write
plugin   base file format chain read check create write vbox vmx machine
tool     base file format chain read guest check create write apply compact vbox vmx machine merge
'

# Headers that vmdkdelta.h does not include are private to their wing, but for these: the
# header, and the other wings that may include it.
private='
base/charset.h            file format chain vbox vmx
chain/candidates.h        vbox vmx
base/records.h            chain merge apply
chain/link-files.h        create write apply compact merge
file/newfile.h            create compact merge format apply
file/pin.h                merge
format/cowd.h             check create write
format/descriptor-edit.h  write merge apply
format/descriptor-text.h  create write merge apply
format/grain-tables.h     check write
format/kdmv-header.h      create write
format/prefetch.h         chain
format/kdmv.h             check create write compact
format/sesparse.h         check
format/vdi.h              check create write compact merge
create/create-vdi.h       merge
write/entries.h           compact
'

# set TABLE NAME: the words behind NAME in TABLE; fails where there is no such line.
set_of () { awk -v n="$2" '$1 == n { $1 = ""; print; found = 1 } END { exit !found }' <<<"$1"; }
within () { [[ " $2 " == *" $1 "* ]]; }  # WORD SET

# includes FILE...: print "FILE:LINE:NAME" for each #include, <> and "".
includes () {
    grep -nHE '^[[:space:]]*#[[:space:]]*include' "$@" /dev/null |
        sed -E 's/^([^:]+:[0-9]+):.*[<"]([^>"]+)[>"].*$/\1:\2/' || :
}

# ---- The tables themselves ---------------------------------------------------

seen=
while read -r wing uses; do
    [ "$wing" ] || continue
    [ -d "lib/$wing" ] || complain "lib/$wing is in the table, but not in the tree"
    for w in $uses; do
        within "$w" "$seen" || complain "the table lets $wing use $w, which does not stand above it"
    done
    seen+=" $wing"
done <<<"$wings"
for dir in lib/*/; do
    wing=${dir#lib/} wing=${wing%/}
    within "$wing" "$seen" || complain "the table has no line for $dir"
done
public=$(sed -n 's/^#include "\(.*\)"/\1/p' lib/vmdkdelta.h)

# ---- Includes ----------------------------------------------------------------

while IFS=: read -r file line name; do
    wing=${file#lib/}
    case $wing in */*) wing=${wing%%/*} ;; *) continue ;; esac
    case $name in
        nbdkit*|libnbd*|*/*nbdkit*|../*)
            complain "$file:$line: the library must not include $name"; continue ;;
    esac
    [ -e "lib/$name" ] || [ -e "lib/$wing/$name" ] || continue
    case $name in
        */*) ;;
        *) complain "$file:$line: $name is to be included as \"$wing/$name\""; continue ;;
    esac
    from=${name%%/*}
    [ "$from" != "$wing" ] || continue
    within "$from" "$(set_of "$wings" "$wing")" ||
        complain "$file:$line: $wing may not include $name"
    grep -qx "$name" <<<"$public" || within "$wing" "$(set_of "$private" "$name")" ||
        complain "$file:$line: $name is private to lib/$from"
done < <(includes lib/*.h lib/*/*.[ch])

for dir in common filter plugin remote tool; do
    while IFS=: read -r file line name; do
        [ "$name" != vmdkdelta.h ] || continue
        [ ! -e "$dir/$name" ] || continue
        case $dir in filter|plugin) [ ! -e "common/$name" ] || continue ;; esac
        case $dir:$name in common:remote.h|tool:remote.h|tool:nbd.h) continue ;; esac
        case $name in ../*) wrong=1 ;; *) wrong= ;; esac
        for other in lib common filter plugin remote tool; do [ ! -e "$other/$name" ] || wrong=1; done
        [ ! "$wrong" ] || complain "$file:$line: $dir may include vmdkdelta.h and its own headers, not $name"
    done < <(includes "$dir"/*.[ch])
done

# ---- The same at link level --------------------------------------------------
#
# An include that is allowed can still lead to a circle, through a declaration that
# stands in another wing's header, or a table of functions.

for dir in lib/*/; do
    wing=${dir#lib/} wing=${wing%/}
    nm -A --defined-only "$builddir/lib/$wing"/*.o | awk -v w="$wing" '$(NF-1) ~ /^[TDBRVWC]$/ { print $NF, w }'
done | sort -u > "$T/defined"
[ "$(wc -l < "$T/defined")" -gt 300 ] || fail "no symbols in $builddir/lib?"

# calls DIR: the wings whose symbols the objects in DIR ask for, each with one such symbol.
calls () {
    nm -A --undefined-only "$1"/*.o | awk '{ sub(/^.*\//, "", $1); sub(/:.*/, "", $1); print $NF, $1 }' | sort -u |
        join "$T/defined" - | awk '!($2 in seen) { seen[$2] = 1; print $2, $1, $3 }'
}
for dir in lib/*/; do
    wing=${dir#lib/} wing=${wing%/}
    while read -r from symbol object; do
        [ "$from" != "$wing" ] || continue
        within "$from" "$(set_of "$wings" "$wing")" || complain "lib/$wing may not use lib/$from, but $object calls $symbol"
    done < <(calls "$builddir/lib/$wing")
done
for face in common filter plugin remote tool; do
    while read -r from symbol object; do
        within "$from" "$(set_of "$faces" "$face")" || complain "$face may not use lib/$from, but $object calls $symbol"
    done < <(calls "$builddir/$face")
done

# What is linked into the modules: also what comes in by way of something else.
module () {  # FACE FILE
    [ "${2:-}" ] || return 0
    nm "$2" | awk '{ print $NF }' | sed 's/\.\(constprop\|part\|isra\|cold\).*//' | sort -u |
        join "$T/defined" - | awk '!($2 in seen) { seen[$2] = 1; print $2, $1 }' > "$T/linked"
    [ -s "$T/linked" ] || { echo "$2 has no symbols to look at (stripped?)"; return 0; }
    while read -r from symbol; do
        within "$from" "$(set_of "$faces" "$1")" || complain "the $1 contains code of lib/$from ($symbol)"
    done < "$T/linked"
}
module filter "${FILTER:-}"
module plugin "${PLUGIN:-}"

# ---- One place for a fact ----------------------------------------------------

# Where a field lies on the disk is known in format/, and in create/, which writes whole
# new headers; and in guest/, where a field of a partition table does.  Elsewhere: VD_..._OFF_ names, or a decoded struct.
offsets=$(grep -nHE 'vd_(le|put)(16|32|64) \([^,;]*\+ *(0x[0-9a-fA-F]+|[0-9]+)[,)]' lib/*/*.[ch] | grep -vE '^lib/(format|create|guest)/' || :)
[ -z "$offsets" ] || complain "byte offsets of fields outside lib/format, lib/create and lib/guest:
$offsets"

# What a wing does for each format is a table in its first file.  A function that compares
# with two of them is a chain that wants to be such a table.
chains=$(awk '
    FNR == 1 { name = ""; delete seen }
    /^[a-z_0-9]+ \(/ { name = $1; n = 0 }
    {
        line = $0
        while (match(line, /fmt [!=]= &vd_[a-z_]+/)) {
            what = substr(line, RSTART, RLENGTH); sub(/.*&/, "", what)
            if (!((name, what) in seen) && ++n == 2) print FILENAME ": " name
            seen[name, what] = 1
            line = substr(line, RSTART + RLENGTH)
        }
    }
    /^}/ { name = ""; n = 0 }' lib/*/*.c common/*.c filter/*.c plugin/*.c tool/*.c)
[ -z "$chains" ] || complain "formats told apart by chains of comparisons:
$chains"

[ $bad -eq 0 ] || fail 'the rules above do not hold'
