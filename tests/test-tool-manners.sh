#!/bin/bash
# The command behaves as its manual says: statuses, streams, help.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need tool qemu-img

# run STATUS ARGS...: out and err are what it printed.
run () {
    local expected=$1 status=0
    shift
    "$TOOL" "$@" > out 2> err || status=$?
    [ $status = "$expected" ] || { cat out err; fail "status $status, expected $expected: $*"; }
    ! grep -v '^vmdkdelta: ' err || fail "a message without prefix: $*"
}

# good ARGS...: help and its like: on stdout only.
good () {
    run 0 "$@"
    [ -s out ] && [ ! -s err ] || fail "expected an answer on stdout only: $*"
}

# usage ARGS...: wrong usage: nothing on stdout, and the way to the help.
usage () {
    run 2 "$@"
    [ ! -s out ] || fail "something on stdout: $*"
    grep -Eq '[Ss]ee: vmdkdelta .*--help' err || { cat err; fail "no way to the help: $*"; }
}

good --help
grep -q '^  info ' out
good --version
grep -Eqx 'vmdkdelta [0-9]+\.[0-9]+\.[0-9]+' out
good help
for verb in $("$TOOL" --verbs); do
    good "$verb" --help
    cp out help
    grep -q "^  vmdkdelta $verb" help || fail "no usage: $verb"
    grep -qx 'Examples:' help || fail "no examples: $verb"
    good help "$verb"
    same out help
    good "$verb" --hel  # as getopt_long has it
    usage "$verb"
    usage "$verb" --no-such-option
    [ "$(awk 'length > 80' help)" = "" ] || fail "help of $verb is wider than 80 columns"
done
usage
usage frobnicate
usage help frobnicate
usage info --parent
usage info --parent=a --parent=b x
usage map --json --picture x
usage map --picture=disk.vmdk x
usage map --color=blue x
grep -q "blue.*never, auto and always" err

# A full disk is noticed.
qemu-img create -q -f vmdk d.vmdk 1M
for args in --help 'help info' 'info d.vmdk' 'info --json d.vmdk' 'map d.vmdk' 'map --json d.vmdk' \
    'map --picture d.vmdk'; do
    status=0
    # shellcheck disable=SC2086
    "$TOOL" $args > /dev/full 2> err || status=$?
    [ $status = 1 ] && grep -q 'stdout' err || fail "status $status with a full disk: $args"
done

# Files whose names look like options, and files that are none.
cp d.vmdk ./--json
good info -- --json
good info ./--json
for file in /nonexistent . /dev/null /dev/zero; do
    run 1 info "$file"
    grep -Fq "$file" err
    run 1 map "$file"
    [ ! -s out ] || fail "map: something on stdout: $file"
done
# One that cannot be read does not hide the others.
run 1 info /nonexistent d.vmdk
grep -q '^d.vmdk$' out
run 1 info --json /nonexistent d.vmdk
grep -q '"state": "unreadable"' out
grep -q '"state": "ok"' out

# No place for a temporary file.
TMPDIR=/nonexistent "$TOOL" info d.vmdk > out
[ -s out ]

# A closed pipe ends it.
status=0
(sleep 0.2; "$TOOL" info d.vmdk) | true || status=$?
[ $status = 141 ] || fail "status $status with a closed pipe"
