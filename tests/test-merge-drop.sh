#!/bin/bash
# merge --drop: a snapshot goes with all that was made on it, and nothing that another
# state, machine or file needs.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/machine.sh"
need tool plugin nbdcopy

letters () { head -c 65536 /dev/zero | tr '\0' "$1"; }
make_machine "$T/as-made"
# s1 - s2 - s3
#    \    \ now
#      s1b - s1c
fresh () { cd "$T"; rm -rf vm; cp -a as-made vm; cd vm; }
letter () {
    nbdkit "$PLUGIN" file=tree.vbox --run "nbdcopy 'nbd+unix:///$1?socket='\$unixsocket -" 2> "$T/err" | tr -s '\0-\377' | tr '\0' 0
}
# states: each export and what it shows.
states () {
    local name
    for name in $(nbdkit "$PLUGIN" file=tree.vbox --run 'nbdinfo --list --json "$uri"' 2> "$T/err" |
        sed -n 's/.*"export-name": "\(.*\)",.*/\1/p' | sort); do
        printf '%s=%s\n' "$name" "$(letter "$name")"
    done
}
need nbdinfo
fresh
states > "$T/before"
cat "$T/before"
sums=$(find . -type f -exec sha256sum {} + | sort)

# What cannot be dropped; nothing is written.
expect_fail "has no snapshot 'nothing'" "$TOOL" merge --drop=nothing --yes tree.vbox
expect_fail 'the current state was made on the snapshot .s1.' "$TOOL" merge --drop=s1 --yes tree.vbox
expect_fail 'use --yes to drop it without asking' "$TOOL" merge --drop=s1b tree.vbox < /dev/null
expect_fail 'only of a machine' "$TOOL" merge --drop=s1 --yes disk0.vdi
for option in --skip=1 --count=1 --disk=disk0 --discard-current --snapshot; do
    expect_fail 'have no meaning with it' "$TOOL" merge --drop=s1 $option tree.vbox
done
"$TOOL" merge --drop=s1b --dry-run tree.vbox > "$T/out"
grep -qx 'goes    snapshot s1b' "$T/out" && grep -qx 'goes    snapshot s1c' "$T/out" || fail "$(cat "$T/out")"
grep -qx 'drop    4 images, .* [KM]iB' "$T/out" || fail "$(cat "$T/out")"
[ "$(find . -type f -exec sha256sum {} + | sort)" = "$sums" ] || fail 'something was written'

# dropped NAME... IMAGES: what is left reads as before, and so many images are there.
dropped () {
    local images=${*: -1} names
    names=$(printf '@%s=|' "${@:1:$#-1}")
    diff <(grep -vE -- "${names%|}" "$T/before") <(states) || fail "after --drop=$1"
    [ "$(find . -name '*.vdi' -o -name '*.vmdk' | wc -l)" = "$images" ] || fail "$1: $(find .)"
    [ "$(grep -c '<HardDisk ' tree.vbox)" = "$images" ] || fail "$1: the registry"
    [ -z "$(find . -name '.*vmdkdelta*')" ] || fail "$1: $(find . -name '.*')"
    "$TOOL" info --chain tree.vbox > "$T/out" || fail "$1: $(cat "$T/out")"
    cmp tree.vbox-prev "$T/as-made/tree.vbox"
}
for kind in s1b:s1c:8 s1c:10 s3:10; do
    fresh
    "$TOOL" merge --quiet --drop="${kind%%:*}" --yes tree.vbox
    # shellcheck disable=SC2086  # words
    dropped ${kind//:/ }
done
# Until one line is left, which merges.
fresh
for name in s1c s1b s3; do "$TOOL" merge --quiet --drop=$name --yes tree.vbox; done
"$TOOL" merge --quiet tree.vbox 2> "$T/err" || { cat "$T/err"; fail 'merge'; }
[ "$(letter disk0)" = D ] && [ "$(find . -name '*.vdi' | wc -l)" = 1 ] || fail "$(find .)"

# By UUID, where several have the name.
fresh
sed -i 's/name="s1c"/name="s3"/' tree.vbox
expect_fail "has 2 snapshots called 's3'" "$TOOL" merge --drop=s3 --yes tree.vbox
"$TOOL" merge --quiet --drop='{A4A8ACA8-448d-4599-adde-b9a366f74be1}' --yes tree.vbox
[ ! -e 'Snapshots/{e0ba26ad-69ff-42ad-aac3-dcd1c4c0b7f1}.vdi' ] && [ -e 'Snapshots/{2423be15-8afc-444a-a2fa-597a996e0d87}.vdi' ] ||
    fail "$(find .)"

# A file that is gone already; files that are to stay.
fresh
rm 'Snapshots/{e0ba26ad-69ff-42ad-aac3-dcd1c4c0b7f1}.vdi'
"$TOOL" merge --quiet --drop=s1b --yes tree.vbox 2> "$T/err"
grep -q 'e0ba26ad.* is not there, and only leaves the registry' "$T/err" || fail "$(cat "$T/err")"
dropped s1b s1c 8
fresh
"$TOOL" merge --quiet --keep --drop=s1b --yes tree.vbox
[ "$(find . -name '*.vdi' -o -name '*.vmdk' | wc -l)" = 12 ] || fail '--keep'

# What else stands on it: a file beside, a linked clone, another machine, an open file.
fresh
image Snapshots/x.vdi 77777777-1111-4222-8333-444444444444 e0ba26ad-69ff-42ad-aac3-dcd1c4c0b7f1 X
expect_fail 'e0ba26ad.* would be dropped, but .*x\.vdi is based on it' "$TOOL" merge --drop=s1b --yes tree.vbox
"$TOOL" merge --quiet --drop=s3 --yes tree.vbox
fresh
mkdir -p "$T/other/Snapshots"
image "$T/other/Snapshots/y.vdi" 88888888-1111-4222-8333-444444444444 8034de2b-d4b1-42c0-852d-f42ec1bb3d5a Y
expect_fail 'y\.vdi is based on .*8034de2b' "$TOOL" merge --drop=s1b --yes tree.vbox
rm -r "$T/other"
# In the registry only: it may be another machine's.
sed -i '/<HardDisk uuid="{e0ba26ad/s,/>,><HardDisk uuid="{99999999-1111-4222-8333-444444444444}" location="z.vdi" format="VDI"/></HardDisk>,' tree.vbox
"$TOOL" merge --quiet --drop=s1b --yes tree.vbox
for u in e0ba26ad-69ff-42ad-aac3-dcd1c4c0b7f1 8034de2b-d4b1-42c0-852d-f42ec1bb3d5a; do
    [ -e "Snapshots/{$u}.vdi" ] || fail 'what an unknown image needs was dropped'
done
[ ! -e 'Snapshots/{93eff61a-9b70-4c0b-bb8d-1c1794b447f5}.vmdk' ] || fail "$(find .)"
fresh
sums=$(find . -type f -exec sha256sum {} + | sort)
( exec 3<> 'Snapshots/{e0ba26ad-69ff-42ad-aac3-dcd1c4c0b7f1}.vdi'
  expect_fail 'is open for writing in another program' "$TOOL" merge --drop=s1b --yes tree.vbox )
[ "$(find . -type f -exec sha256sum {} + | sort)" = "$sums" ] || fail 'something was written'

# Killed at any step: the machine file and the images belong together again when the same
# command has run, or nothing was done.
if command -v strace > /dev/null; then
    for step in 1 2 3 5 7 9 11 13; do
        fresh
        ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0 strace -f -qq -o "$T/trace" -e trace=rename,renameat,renameat2,unlink,unlinkat \
            -e inject=rename,renameat,renameat2,unlink,unlinkat:signal=KILL:when=$step+ \
            "$TOOL" merge --drop=s1b --yes tree.vbox > "$T/log" 2>&1 && break
        "$TOOL" merge --drop=s1b --yes tree.vbox > "$T/log" 2>&1 || { cat "$T/log"; fail "step $step: it is not completed"; }
        dropped s1b s1c 8
    done
    [ $step -gt 5 ] || fail "only $step steps"
fi
