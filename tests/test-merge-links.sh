#!/bin/bash
# What a merge writes into the links that stay: hints to parents in other directories,
# UUIDs of VMDKs, a descriptor that has no room for it; and the new child of --snapshot,
# of each format.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/merge.sh"
need tool plugin nbdcopy qemu-img qemu-io

fresh () { n=1; cd "$T"; rm -rf vm; mkdir vm vm/sub vm/other; cd vm; }
# base FILE, child FILE HINT: the hint as it stands in the descriptor.
base () {
    qemu-img create -q -f vmdk -o subformat="${2:-monolithicSparse}" "$1" 8M
    qemu-io -f vmdk -c 'write -P 1 0 8M' "$1" > /dev/null
}

child () {
    (cd "$(dirname "$1")" && qemu-img create -q -f vmdk -b "$2" -F vmdk "$(basename "$1")")
    qemu-io -f vmdk -c "write -P $((n += 1)) ${n}M 1M" "$1" > /dev/null
}
hint () { grep -a -m 1 '^parentFileNameHint' "$1" | tr -d '\n\r'; }

digest () { nbdkit "$PLUGIN" "file=$1" unconfined=true --run 'nbdcopy "$uri" -' | sha256sum; }

# The base here, what is merged and what stays elsewhere.
# moved HINT BASE MIDDLE TOP: merge the middle into the base; the top has this hint then.
moved () {
    local want
    want=$(digest "$4")
    "$TOOL" merge --quiet --unconfined --skip=1 "$4"
    [ ! -e "$3" ] || fail "$3 is still there"
    [ "$(hint "$4")" = "parentFileNameHint=\"$1\"" ] || fail "$(hint "$4")"
    [ "$(digest "$4")" = "$want" ] || fail "$4 is another disk"
}

fresh; base base.vmdk; child sub/a.vmdk ../base.vmdk; child sub/b.vmdk a.vmdk
moved ../base.vmdk base.vmdk sub/a.vmdk sub/b.vmdk
fresh; base sub/base.vmdk; child sub/a.vmdk base.vmdk; child b.vmdk sub/a.vmdk
moved sub/base.vmdk sub/base.vmdk sub/a.vmdk b.vmdk
fresh; base sub/base.vmdk; child sub/a.vmdk base.vmdk; child other/b.vmdk ../sub/a.vmdk
moved "$T/vm/sub/base.vmdk" sub/base.vmdk sub/a.vmdk other/b.vmdk

# Descriptors inside the image end where the data begins.
fill () {  # FILE: leave no room behind its embedded descriptor
    local text size
    size=$((20 * 512))
    text=$(dd if="$1" bs=512 skip=1 count=20 status=none | tr -d '\0')
    printf '%s\n#' "$text" > "$T/text"
    head -c $((size - $(stat -c %s "$T/text") - 1)) /dev/zero | tr '\0' x >> "$T/text"
    echo >> "$T/text"
    dd if="$T/text" of="$1" bs=512 seek=1 conv=notrunc status=none
}
sums () { find . -type f -exec sha256sum {} + | sort; }
fresh; base a-long-name-for-a-base.vmdk; child a.vmdk a-long-name-for-a-base.vmdk; child b.vmdk a.vmdk
want=$(digest b.vmdk)
fill b.vmdk
[ "$(digest b.vmdk)" = "$want" ]
sums > "$T/before"
expect_fail 'b.vmdk: .*descriptor needs [0-9]* bytes, there is room for 10240' "$TOOL" merge --skip=1 b.vmdk
sums | cmp "$T/before" - || fail 'something was written'

# VMDKs of VirtualBox know each other by UUID.
uuid () { echo "622a0911-bc78-4b7a-a6ec-00000000000$1"; }
# give FILE N PARENT: UUIDs, in a descriptor with a file of its own or in the image.
give () {
    dd if="$1" bs=512 skip=1 count=20 status=none | tr -d '\0' > "$T/text"
    {
        cat "$T/text"
        printf 'ddb.uuid.image="%s"\nddb.uuid.modification="%s"\n' "$(uuid "$2")" "$(uuid "a")"
        printf 'ddb.uuid.parent="%s"\nddb.uuid.parentmodification="%s"\n' "${3:-$(uuid 0 | tr 1-9a-f 0)}" \
            "${3:+$(uuid a)}${3:-$(uuid 0 | tr 1-9a-f 0)}"
    } | sed "${3:+s/\\(parentmodification=\"$(uuid a)\\)[^\"]*/\\1/}" > "$T/new"
    dd if="$T/new" of="$1" bs=512 seek=1 conv=notrunc status=none
}
key () { grep -a -m 1 "^$2=" "$1" | sed 's/.*"\(.*\)".*/\1/' | tr -d '\n\r'; }
fresh; base base.vmdk; child a.vmdk base.vmdk; child b.vmdk a.vmdk
give base.vmdk 1; give a.vmdk 2 "$(uuid 1)"; give b.vmdk 3 "$(uuid 2)"
want=$(digest b.vmdk)
"$TOOL" merge --quiet --skip=1 b.vmdk
[ "$(key b.vmdk ddb.uuid.parent)" = "$(uuid 1)" ] || fail "$(key b.vmdk ddb.uuid.parent)"
[ "$(key base.vmdk ddb.uuid.modification)" != "$(uuid a)" ] || fail 'the base has its old modification UUID'
[ "$(key b.vmdk ddb.uuid.parentmodification)" = "$(key base.vmdk ddb.uuid.modification)" ] || fail 'not the same'
[ "$(digest b.vmdk)" = "$want" ] || fail 'another disk'
"$TOOL" merge --quiet --snapshot b.vmdk
new=$(echo {*}.vmdk)
[ -e "$new" ] || fail "no child: $(ls)"
[ "$(key "$new" ddb.uuid.parent)" = "$(uuid 1)" ] || fail "$(key "$new" ddb.uuid.parent)"
[ "{$(key "$new" ddb.uuid.image)}.vmdk" = "$new" ] || fail 'its name is not its UUID'
[ "$(digest "$new")" = "$want" ] || fail 'another disk with the new child'

# Of ESXi's COWD, two files; of the hosted products, a name with a number.
fresh
base base.vmdk monolithicFlat
"$MKIMAGE" make cowd x-000001-delta.vmdk --capacity=8M --seed=1 --content=noise --fill=300 \
    --parent-cid="$(sed -n 's/^CID=//p' base.vmdk)" --parent=base.vmdk --descriptor=x-000001.vmdk
"$TOOL" info x-000001.vmdk > /dev/null
want=$(digest x-000001.vmdk)
expect_fail 'is based on' "$TOOL" merge --snapshot base.vmdk
"$TOOL" merge --quiet --snapshot x-000001.vmdk
[ -e x-000001.vmdk ] || [ -e x-000002.vmdk ] || fail "no child: $(ls)"
new=$(ls x-00000?.vmdk)
[ -e "${new%.vmdk}-delta.vmdk" ] || fail "no extent: $(ls)"
[ "$(digest "$new")" = "$want" ] || fail 'another disk with the new child'

# By a symbolic link, cut off: the same command completes it, though the link may lead
# nowhere by then; the base lies beside the link, or beside the file.
if command -v strace > /dev/null; then
    for place in other sub; do
        for when in 1 2; do
            fresh; base other/base.vmdk; child other/top.vmdk base.vmdk
            mv other/base.vmdk other/b; mv other/b $place/base.vmdk
            ln -s ../other/top.vmdk sub/link.vmdk
            want=$(digest sub/link.vmdk)
            strace -f -qq -o "$T/calls" -e trace=unlink -e inject=unlink:signal=KILL:when=$when \
                "$TOOL" merge --quiet sub/link.vmdk && fail 'not killed'
            [ -n "$(find . -name '.*vmdkdelta-merge')" ] || fail 'no journal'
            "$TOOL" merge sub/link.vmdk | grep -q 'an interrupted merge was completed'
            [ "$(digest $place/base.vmdk)" = "$want" ]
            [ "$(find . -name '.*' -type f)$(find . -name top.vmdk)" = '' ] || fail 'something was left'
        done
    done
fi

# A name so long that a number has no room behind it: that of the new child is cut, between
# characters.
long=$(printf 'ä%.0s' $(seq 1 95))      # 190 bytes
fresh; base "$long.vmdk"
want=$(digest "$long.vmdk")
"$TOOL" snapshot "$long.vmdk" > "$T/made"
child=$(find . -name '*-000001.vmdk')
[ "$child" ] || fail "there is no child: $(ls)"
printf %s "$child" | iconv -f UTF-8 -t UTF-8 > /dev/null || fail 'half a character is left'
[ "$(digest "$child")" = "$want" ] || fail 'the child is another disk'
qemu-io -f vmdk -c 'write -P 7 1M 64k' "$child" > /dev/null
want=$(digest "$child")
"$TOOL" merge --quiet --snapshot "$child"
child=$(find . -name '*-000002.vmdk' -o -name '*-000001.vmdk')
[ "$(digest "$child")" = "$want" ] || fail "merged, with a new child: another disk"

# A child in a directory of its own names its parent relatively, so that both can be moved.
fresh; base base.vmdk; mkdir Snapshots
"$TOOL" snapshot base.vmdk Snapshots/run.vmdk > /dev/null
[ "$(hint Snapshots/run.vmdk)" = 'parentFileNameHint="../base.vmdk"' ] || fail "$(hint Snapshots/run.vmdk)"
