#!/bin/bash
# What a merge removes lies where the files of the disk are.  A descriptor can name files of
# other disks as its extents or parents: they are read, and stay, and that is said.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need tool plugin qemu-img qemu-io nbdcopy python3

letters () {
    local i
    rm -f "$T/out.raw"
    nbdkit "$PLUGIN" "file=$1" --run 'nbdcopy "$uri" "'"$T/out.raw"'"' 2> "$T/err" || return 0
    for i in 0 1 2 3; do dd if="$T/out.raw" bs=1 skip=$((i << 20)) count=1 status=none; done
}

# sums: of all files below.
sums () { find . -type f -exec sha256sum {} + | sort -k 2; }

# victim: a split disk of another machine, in vm/ and vm/disks/.
victim () {
    rm -rf "$T/w"; mkdir -p "$T/w/vm/disks"; cd "$T/w"
    qemu-img create -q -f vmdk -o subformat=twoGbMaxExtentSparse vm/precious.vmdk 4M
    qemu-io -f vmdk -c 'write -P 80 0 1M' vm/precious.vmdk > /dev/null
    mv vm/precious-s001.vmdk vm/disks/
    sed -i 's,"precious-s001,"disks/precious-s001,' vm/precious.vmdk
    [ "$(letters vm/precious.vmdk | tr -d '\0')" = P ] || { cat "$T/err"; fail 'the victim'; }
    truncate -s 4M base-flat.vmdk
    printf '# Disk DescriptorFile\nversion=1\nCID=11111111\nparentCID=ffffffff\ncreateType="monolithicFlat"\nRW 8192 FLAT "base-flat.vmdk" 0\nddb.adapterType = "ide"\n' > base.vmdk
}
# child EXTENT: whose extent is that of the victim.
child () {
    printf '# Disk DescriptorFile\nversion=1\nCID=22222222\nparentCID=11111111\ncreateType="twoGbMaxExtentSparse"\nparentFileNameHint="base.vmdk"\nRW 8192 SPARSE "%s"\n' \
        "$1" > child.vmdk
}

warned () {
    grep -q "precious-s001.vmdk will not be removed: it is not in the directory of .*/child.vmdk, and may belong to another disk" "$1" ||
        { cat "$1"; fail 'no warning'; }
}

for how in plain symlink; do
    victim
    child vm/disks/precious-s001.vmdk
    if [ $how = symlink ]; then
        ln -s vm/disks/precious-s001.vmdk child-s001.vmdk
        child child-s001.vmdk
    fi
    (cd vm && sums) > "$T/before"
    # said before it is done, also with --quiet and to programs
    "$TOOL" merge --dry-run --quiet child.vmdk > "$T/log" 2>&1
    warned "$T/log"
    "$TOOL" merge --dry-run --json child.vmdk > "$T/json" 2> "$T/log"
    python3 - "$T/json" "$T/w" << 'EOF'
import json, sys
j = json.load(open(sys.argv[1]))
w = sys.argv[2]
steps = [s for s in j["steps"] if not s.startswith("rewrite")]
assert [s.split(" (")[0] for s in steps] == ["remove  %s/child.vmdk" % w, "keep    %s/vm/disks/precious-s001.vmdk" % w], steps
assert j["disks"][0]["freed"] < 65536, j
EOF
    "$TOOL" merge child.vmdk > "$T/log" 2>&1 || { cat "$T/log"; fail "merge ($how)"; }
    warned "$T/log"
    [ ! -e child.vmdk ] || fail 'child.vmdk is still there'
    [ "$(letters base.vmdk | tr -d '\0')" = P ] || fail 'it was not merged'
    (cd vm && sums) | cmp - "$T/before" || fail "the other disk was changed ($how)"
done
# dropped, too
victim
child vm/disks/precious-s001.vmdk
"$TOOL" merge --yes --discard-current child.vmdk > "$T/log" 2>&1 || :
[ -e vm/disks/precious-s001.vmdk ] || fail 'dropped'
# another name of it in the right directory goes
victim
ln vm/disks/precious-s001.vmdk child-s001.vmdk
child child-s001.vmdk
"$TOOL" merge --quiet child.vmdk
if [ -e child-s001.vmdk ] || [ ! -e vm/disks/precious-s001.vmdk ]; then fail 'a hard link'; fi

# chain DIR0 DIR1 DIR2: base, s1 and s2 in these directories.
chain () {
    local i below hint dirs=("$@")
    rm -rf "$T/w"; mkdir "$T/w"; cd "$T/w"
    mkdir -p "$@"
    qemu-img create -q -f vmdk $1/base.vmdk 4M
    qemu-io -f vmdk -c 'write -q -P 65 0 4M' $1/base.vmdk > /dev/null
    below=$1/base.vmdk
    for i in 1 2; do
        hint=$(realpath --relative-to="${dirs[i]}" "$below")
        (cd "${dirs[i]}"; qemu-img create -q -f vmdk -b "$hint" -F vmdk s$i.vmdk)
        qemu-io -f vmdk -c "write -q -P $((65 + i)) ${i}M 64k" "${dirs[i]}/s$i.vmdk" > /dev/null
        below=${dirs[i]}/s$i.vmdk
    done
}
# goes TOP OPTION...: no file but the base is left.
goes () {
    "$TOOL" merge --quiet "$@" > "$T/log" 2>&1 || { cat "$T/log"; fail "merge $*"; }
    [ "$(find . -type f)" = "$(find . -name base.vmdk)" ] || { find . -type f; cat "$T/log"; fail "$*: something is left"; }
    [ "$(letters "$(find . -name base.vmdk)")" = ABCA ] || { cat "$T/err"; fail "$*: reads otherwise"; }
}

# a link of another machine's folder
chain vm vm .
"$TOOL" merge s2.vmdk > "$T/log" 2>&1 || { cat "$T/log"; fail 'a link elsewhere'; }
grep -q 'vm/s1.vmdk will not be removed: it is not in the directory of .*/s2.vmdk.* name its directory with --parent-path' "$T/log" ||
    { cat "$T/log"; fail 'no warning about a link'; }
if [ ! -e vm/s1.vmdk ] || [ -e s2.vmdk ]; then fail 'a link elsewhere'; fi
[ "$(letters vm/base.vmdk)" = ABCA ] || fail 'a link elsewhere was not merged'
[ -z "$(letters vm/s1.vmdk)" ] || fail 'it is still served'
grep -q 'CID' "$T/err"
[ -z "$(find . -name '.*vmdk*')" ] || { find .; fail 'a mark is left'; }
# of the user's
chain vm vm .
goes s2.vmdk --parent-path=vm
chain vm vm .
goes s2.vmdk --unconfined
# of the disk's
chain Snapshots Snapshots .
goes s2.vmdk
# by a link to the newest
chain . . .
ln -s s2.vmdk top.vmdk
"$TOOL" merge --quiet top.vmdk
if [ -e s1.vmdk ] || [ -e s2.vmdk ]; then fail 'by a link to the newest'; fi
mkdir "$T/link"; chain . . .
ln -s "$T/w/s2.vmdk" "$T/link/top.vmdk"
"$TOOL" merge --quiet --unconfined "$T/link/top.vmdk" > "$T/log" 2>&1 || { cat "$T/log"; fail 'by a link in another directory'; }
