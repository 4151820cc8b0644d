#!/bin/bash
# A flat base and an empty child over it.  The tests of how parents are found use
# the functions in the first part of this file: a base is full of one letter, and
# a child shows the base that was found.
[ "${BASH_SOURCE[0]}" != "$0" ] || . "$top_srcdir/tests/lib.sh"
need plugin mkimage nbdcopy

# letters LETTER: 64 KiB of it, as a control character: not to be taken for text.
letters () { head -c 65536 /dev/zero | tr '\0' "$1" | tr A-Z '\001-\032'; }

# base FILE CID LETTER [LINE...]: a disk full of this letter, with a descriptor, which
# gets these lines too.
base () {
    local file=$1 cid=$2 letter=$3 name=${1##*/}
    shift 3
    letters "$letter" > "${file%.vmdk}-flat.vmdk"
    {
        printf '# Disk DescriptorFile\nversion=1\nCID=%s\nparentCID=ffffffff\n' "$cid"
        [ $# -eq 0 ] || printf '%s\n' "$@"
        printf 'createType="vmfs"\nRW 128 VMFS "%s-flat.vmdk"\n' "${name%.vmdk}"
    } > "$file"
}

# child FILE CID PARENTCID [LINE...]: a snapshot in which nothing was written.
child () {
    local file=$1 cid=$2 parent=$3 name=${1##*/}
    shift 3
    "$MKIMAGE" make cowd "${file%.vmdk}-delta.vmdk" --capacity=64K --fill=0
    {
        printf '# Disk DescriptorFile\nversion=1\nCID=%s\nparentCID=%s\n' "$cid" "$parent"
        [ $# -eq 0 ] || printf '%s\n' "$@"
        printf 'createType="vmfsSparse"\nRW 128 VMFSSPARSE "%s-delta.vmdk"\n' "${name%.vmdk}"
    } > "$file"
}

# hint NAME: the line.
hint () { printf 'parentFileNameHint="%s"' "$1"; }

# _letter ARGS...: nbdkit with these serves a disk full of one letter: print it.
_letter () {
    nbdkit "$@" --run "nbdcopy \"\$uri\" '$T/seen'" 2> "$T/log" || { cat "$T/log" >&2; return 1; }
    tr -s '\0-\377' < "$T/seen" | tr '\0\001-\032' 0A-Z
}
# sees LETTER ARGS...: the plugin; filter_sees: the filter.  $T/log is stderr.
sees () {
    local seen
    seen=$(_letter "$PLUGIN" "${@:2}")
    [ "$seen" = "$1" ] || fail "read '$seen', expected '$1': ${*:2}"
}
filter_sees () {
    local seen
    seen=$(_letter --filter="$FILTER" "${@:2}")
    [ "$seen" = "$1" ] || fail "read '$seen', expected '$1': ${*:2}"
}

# exports: the names that $uri lists, in one line.
exports () { nbdinfo --list "$uri" | sed -n 's/^export="\(.*\)":$/\1/p' | sort | tr '\n' ' '; }

# refused ARGS...: the plugin does not start; filter_refused: the filter.
refused () { expect_fail '^nbdkit: .*error: ' nbdkit "$PLUGIN" "$@" --run true; }
filter_refused () { expect_fail '^nbdkit: .*error: ' nbdkit_run "$@" --run 'nbdinfo --size "$uri"'; }

# says TEXT...: what refused it said; warns TEXT...: what it said while it worked.
_in () {
    local file=$1 text
    shift
    for text; do
        grep -Fq -e "$text" "$file" || { cat "$file" >&2; fail "the text above does not hold: $text"; }
    done
}
says () { _in "$T/output" "$@"; }
warns () { _in "$T/log" "$@"; }
silent () { [ ! -s "$T/log" ] || { cat "$T/log" >&2; fail "expected no message"; }; }

[ "${BASH_SOURCE[0]}" = "$0" ] || return 0

# ---- The test ----------------------------------------------------------------

base disk.vmdk aaaa0001 A
child disk-000001.vmdk bbbb0001 aaaa0001 "$(hint disk.vmdk)"
sees A disk.vmdk
silent
sees A disk-000001.vmdk
silent
rm disk.vmdk
refused disk-000001.vmdk
says "$T/disk-000001.vmdk" disk.vmdk
