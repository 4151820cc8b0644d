#!/bin/bash
# A machine of VirtualBox with snapshots: all of it, a part, with a new snapshot,
# without the current state; the machine file says what is there then.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/merge.sh"
need tool plugin xz nbdcopy qemu-img

unpack vb-vdi-tiny-2
n=${#chain[@]}
mkdir "$T/vm"
fresh () {
    rm -rf "$T/vm"; cp -r . "$T/vm"
    make_machine "$T/vm/m.vbox" "$n" "${chain[@]}"
    cp "$T/vm/m.vbox" "$T/old.vbox"
}
now () {  # the digest of the disk as it is, read through the machine file
    nbdkit "$PLUGIN" "$T/vm/m.vbox" --run 'nbdcopy "$uri" -' 2>/dev/null | sha256sum
}
uuids=()
for file in "${chain[@]}"; do uuids+=("$(image_uuid "$file")"); done

# The file of a registered disk is not merged behind the machine's back.
fresh
expect_fail 'belongs to the machine .*m\.vbox.*--no-machine' "$TOOL" merge "$T/vm/${chain[-1]}"
"$TOOL" info "$T/vm/m.vbox" > "$T/info"; cat "$T/info"
[ "$(now)" = "${digests[-1]}" ] || fail 'the machine is not read as it should'

# Each choice of links.
for ((skip = 0; skip < n - 1; skip++)); do
    for ((count = 1; count <= n - 1 - skip; count++)); do
        fresh
        "$TOOL" merge --skip=$skip --count=$count "$T/vm/m.vbox"
        check_result "$T/vm" $skip $count
        [ "$(now)" = "${digests[-1]}" ] || fail 'the machine has another content'
        same "$T/old.vbox" "$T/vm/m.vbox-prev"
        # What has nothing to do with it is as it was: lines only went, or
        # changed their indentation or the UUID of an image.
        diff <(grep -v 'HardDisk\|Snapshot\|Image uuid' "$T/old.vbox" | sed 's/^ *//' | sort -u) \
            <(grep -v 'HardDisk\|Snapshot\|Image uuid' "$T/vm/m.vbox" | sed 's/^ *//' | sort -u)
        grep -q "GUI/LastCloseAction' value=\"PowerOff\"" "$T/vm/m.vbox"
        for ((i = n - skip - count; i < n - skip; i++)); do
            ! grep -q "${uuids[i]}" "$T/vm/m.vbox" || fail "${chain[i]} is still in the machine file"
        done
        # Snapshots go whose content is gone: those of the target and of what was
        # merged, but for the newest, which lives on in the target.
        for ((i = 0; i < n - 1; i++)); do
            gone=$((i >= n - 1 - skip - count && i < n - 1 - skip))
            [ "$(grep -c "name=\"snap$i\"" "$T/vm/m.vbox")" -eq $((1 - gone)) ] ||
                fail "snap$i, --skip=$skip --count=$count"
        done
    done
done

# A new snapshot on top.
fresh
"$TOOL" merge --snapshot='before <update>' "$T/vm/m.vbox"
[ "$(now)" = "${digests[-1]}" ] || fail 'with --snapshot the machine has another content'
[ "$(digest "$T/vm/${chain[0]}")" = "${digests[-1]}" ] || fail 'the base does not have all'
new=$(cd "$T/vm" && ls -- *'}.vdi')
[ "$(digest "$T/vm/$new")" = "${digests[-1]}" ]
grep -q 'name="before &lt;update' "$T/vm/m.vbox"
"$TOOL" check --chain "$T/vm/$new"
# ... which can be merged away again.
"$TOOL" merge "$T/vm/m.vbox"
[ "$(now)" = "${digests[-1]}" ]
[ ! -e "$T/vm/$new" ]
sums=$(sha256sum "$T"/vm/*)
"$TOOL" merge "$T/vm/m.vbox" > out
grep -q 'nothing to merge' out || fail "$(cat out)"
"$TOOL" merge "$T/vm/${chain[0]}" --no-machine > out
grep -q 'nothing to merge: the chain has 1 link, a base' out || fail "$(cat out)"
[ -z "$("$TOOL" merge -q "$T/vm/m.vbox")" ] || fail 'quiet is not'
"$TOOL" merge --json "$T/vm/m.vbox" | grep -q '"written": false' || fail 'no JSON'
[ "$sums" = "$(sha256sum "$T"/vm/*)" ] || fail 'something was written'

# Without what was written since the last snapshot: asked for.
fresh
expect_fail 'nothing was written' "$TOOL" merge --discard-current "$T/vm/m.vbox" < /dev/null
[ -e "$T/vm/${chain[-1]}" ] || fail 'dropped without a yes'
echo yes | "$TOOL" merge --discard-current "$T/vm/m.vbox"
[ "$(now)" = "${digests[-2]}" ] || fail '--discard-current'
[ "$(cd "$T/vm"; ls -- *.vdi)" = "${chain[0]}" ] || fail 'more than the base is there'
fresh
"$TOOL" merge --discard-current --yes --skip=$((n - 1)) --snapshot "$T/vm/m.vbox"
[ "$(now)" = "${digests[-2]}" ] || fail '--discard-current without merging'
[ "$(digest "$T/vm/${chain[-2]}")" = "${digests[-2]}" ] || fail 'the snapshot was changed'

# The directory, if there is one machine in it.
fresh
"$TOOL" merge --quiet "$T/vm"
[ "$(now)" = "${digests[-1]}" ] || fail 'merge DIR'
[ "$(cd "$T/vm"; ls -- *.vdi)" = "${chain[0]}" ] || fail 'merge DIR does not merge'
"$TOOL" compact --quiet "$T/vm"
fresh
cp "$T/vm/m.vbox" "$T/vm/n.VBOX"
expect_fail 'more than one VirtualBox machine.*/m\.vbox or .*/n\.VBOX' "$TOOL" merge "$T/vm"
rm "$T/vm"/*.vbox "$T/vm"/*.VBOX
expect_fail 'there is no VirtualBox machine .*in this directory' "$TOOL" merge "$T/vm/"
expect_fail 'there is no VirtualBox machine .*in this directory' "$TOOL" compact "$T/vm"
for file in "${chain[@]}"; do same "$file" "$T/vm/$file"; done

# A saved machine, and one that runs (has a file open for writing).
fresh
sed -i 's/lastStateChange=/stateFile="Snapshots\/x.sav" &/' "$T/vm/m.vbox"
expect_fail '[Ss]aved' "$TOOL" merge "$T/vm/m.vbox"
fresh
for file in "${chain[0]}" "${chain[-1]}"; do
    ( exec 3<> "$T/vm/$file"
      expect_fail 'is open for writing in another program' "$TOOL" merge "$T/vm/m.vbox" )
done
mkdir "$T/vm/${chain[0]}.lck"
expect_fail 'there is a lock' "$TOOL" merge "$T/vm/m.vbox"
rmdir "$T/vm/${chain[0]}.lck"
for file in "${chain[@]}"; do same "$file" "$T/vm/$file"; done
same "$T/old.vbox" "$T/vm/m.vbox"

# Another machine that has the same disk.
fresh
sed 's/11111111-2222/99999999-2222/' "$T/vm/m.vbox" > "$T/vm/other.vbox"
expect_fail 'belongs to the machine .*/other.vbox too' "$TOOL" merge "$T/vm/m.vbox"
for file in "${chain[@]}"; do same "$file" "$T/vm/$file"; done
"$TOOL" merge --quiet --no-machine "$T/vm/m.vbox"

# What users know: names and totals.  The files with --verbose.
fresh
"$TOOL" merge --dry-run "$T/vm/m.vbox" > out
for ((i = 0; i < n - 1; i++)); do grep -qx "goes    snapshot snap$i" out || fail "$(cat out)"; done
grep -qx "merge   base: $((n - 1)) files into base.vdi" out || fail "$(cat out)"
! grep -q "$T\|${chain[1]}" out || fail "$(cat out)"
"$TOOL" merge --dry-run --verbose "$T/vm/m.vbox" > verbose
for file in "${chain[@]:1}"; do grep -q "^remove  .*/$file " verbose || fail "$(cat verbose)"; done

# As vboxmerge's users spell it.
"$TOOL" merge -n --count=1000 "$T/vm/m.vbox" | diff out -
"$TOOL" merge --dryrun "$T/vm/m.vbox" | diff out -
"$TOOL" merge -q --discard-currentstate --yes "$T/vm/m.vbox" > out
[ ! -s out ] || fail "$(cat out)"
[ "$(now)" = "${digests[-2]}" ] || fail '--discard-currentstate'
