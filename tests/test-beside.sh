#!/bin/bash
# A lock beside what is read, and newer snapshots: everybody who reads says so, and nothing is refused.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/test-chain-disks.sh"
need filter tool nbdinfo nbdcopy nbdkit:plugin:file

base disk.vmdk 1 A
child disk-000001.vmdk 2 1 "$(hint disk.vmdk)"
child disk-000002.vmdk 3 2 "$(hint disk-000001.vmdk)"
child disk-000003.vmdk 4 3 "$(hint disk-000002.vmdk)"

# all PATTERN FILE: info, check, plugin, filter and apply say it of this file (of a base: the first
# three); or, PATTERN empty, nothing of the kind.
said () {
    if [ "$1" ]; then grep -Eq "$1" log || fail "$2: no '$1': $(cat log)"
    else ! grep -q 'newest state\|there is a lock\|newer ' log || fail "$2: $(cat log)"; fi
}
all () {
    "$TOOL" info "$2" > log 2>&1 || fail "info: $(cat log)"
    said "${1:+^  (newer|lock) }" "info $2"
    "$TOOL" check "$2" > log 2>&1 || fail "check: $(cat log)"
    said "$1" "check $2"
    case $2 in
        *-delta.vmdk) ;;  # refused
        *)
            nbdkit -v "$PLUGIN" "file=$2" --run 'nbdinfo "$uri"' > out 2> log || fail "plugin: $(cat log)"
            said "$1" "plugin $2" ;;
    esac
    [ "$2" != disk.vmdk ] || return 0
    nbdkit -v --filter="$FILTER" file disk-flat.vmdk "delta=$2" --run 'nbdinfo "$uri"' > out 2> log || fail "filter: $(cat log)"
    said "$1" "filter $2"
    cp disk-flat.vmdk target.raw
    "$TOOL" apply "$2" target.raw > out 2> log || fail "apply: $(cat log)"
    said "$1" "apply $2"
    rm target.raw*
}

all '' disk-000003.vmdk
all 'disk-000002.vmdk is not the newest state of its disk: .*disk-000003.vmdk was made on it' disk-000002.vmdk
all 'disk-000001-delta.vmdk is not the newest state of its disk: .*disk-000002.vmdk was made on it' disk-000001-delta.vmdk
all 'disk.vmdk is not the newest state of its disk: .*disk-000001.vmdk was made on it' disk.vmdk
mkdir disk-000003.vmdk.lck
all 'disk-000003.vmdk: there is a lock .*disk-000003.vmdk.lck: a machine that is running changes the disk' disk-000003.vmdk
rmdir disk-000003.vmdk.lck
"$TOOL" info --json disk-000001.vmdk | tr -d ' \n' > out
grep -q '"lock":null,"newer":"[^"]*disk-000002.vmdk"' out || fail "$(cat out)"

# To serve an older state is normal: the server says it only with -v.  A lock it says always.
nbdkit "$PLUGIN" file=disk-000001.vmdk --run 'nbdinfo "$uri"' > out 2> log
said '' 'not -v'
mkdir disk-000001.vmdk.lck
nbdkit "$PLUGIN" file=disk-000001.vmdk --run 'nbdinfo "$uri"' > out 2> log
said 'warning: .*disk-000001.vmdk: there is a lock' 'lock, not -v'
rmdir disk-000001.vmdk.lck
# In a directory that is served as a whole all are exports: nothing is to be said.
nbdkit "$PLUGIN" dir=. --run 'nbdinfo --list "$uri"' > out 2> log
said '' dir=
# More than one, and more than are listed.
for i in 5 6 7 8; do child "disk-00000$i.vmdk" "$i$i" 4 "$(hint disk-000003.vmdk)"; done
"$TOOL" info disk-000003.vmdk > out
grep -Eq '^  newer  .*disk-000005.vmdk, .*disk-000006.vmdk, .*disk-000007.vmdk, \.\.\.$' out || fail "$(cat out)"
