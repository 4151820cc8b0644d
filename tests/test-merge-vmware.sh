#!/bin/bash
# A chain as VMware leaves it, over a flat and over a sparse base: CIDs, hints and
# change tracking afterwards; what is refused; a new child on top.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/merge.sh"
need tool plugin nbdcopy qemu-img qemu-io

cid () { grep -a -i -m 1 "^$2=" "$1" | tr -d '\r' | cut -d = -f 2; }

for base in monolithicFlat monolithicSparse twoGbMaxExtentSparse; do
    rm -rf "$T/vm"; mkdir "$T/vm"; cd "$T/vm"
    qemu-img create -q -f vmdk -o subformat=$base disk.vmdk 3M
    qemu-io -f vmdk -c 'write -P 1 0 2M' disk.vmdk > /dev/null
    for i in 1 2 3; do
        parent=disk$([ $i = 1 ] || echo "-00000$((i - 1))").vmdk
        qemu-img create -q -f vmdk -b "$parent" -F vmdk "disk-00000$i.vmdk"
        qemu-io -f vmdk -c "write -P 1$i ${i}00k 300k" -c "write -P 0 $((i * 700))k 70k" "disk-00000$i.vmdk" > /dev/null
    done
    chain=(disk.vmdk disk-000001.vmdk disk-000002.vmdk disk-000003.vmdk)
    digests=()
    for file in "${chain[@]}"; do digests+=("$(digest "$file")"); done

    # Change tracking in the base and in a link.
    if [ $base = monolithicFlat ]; then
        # (QEMU leaves NULs at the end)
        tr -d '\0' < disk.vmdk | sed 's/^version=1/version=3/' > new
        printf 'changeTrackPath="disk-ctk.vmdk"\n' >> new
        mv new disk.vmdk
        echo ctk > disk-ctk.vmdk
    fi
    old=$(cid disk.vmdk CID)
    "$TOOL" merge --skip=1 disk-000003.vmdk > "$T/out"
    check_result . 1 2
    [ "$(cid disk.vmdk CID)" != "$old" ] || fail 'the base kept its CID'
    [ "$(cid disk.vmdk CID)" = "$(cid disk-000003.vmdk parentCID)" ] || fail 'the child has another parentCID'
    grep -aq '^parentFileNameHint="disk.vmdk"' disk-000003.vmdk || fail 'the child names another parent'
    if [ $base = monolithicFlat ]; then
        grep -q 'changed block tracking is dropped' "$T/out"
        ! grep -q changeTrack disk.vmdk || fail 'changeTrackPath is still there'
        [ ! -e disk-ctk.vmdk ] || fail 'the file of change tracking is still there'
        grep -qx version=1 disk.vmdk || fail 'version is not 1 again'
    fi
    # QEMU reads the same, through the link that is left and its new parent.
    qemu-img convert -f vmdk -O raw disk-000003.vmdk "$T/q.raw"
    [ "$(sha256sum < "$T/q.raw")" = "${digests[3]}" ] || fail 'QEMU reads something else'
    "$TOOL" check --chain disk-000003.vmdk

    # The last one, with a new child on top, which can be written.
    ! grep -q '\.vmx' "$T/out" || fail 'the .vmx is mentioned, though the newest stays'
    "$TOOL" merge --dry-run disk-000003.vmdk > "$T/out"
    grep -q '\.vmx of .* must then name disk\.vmdk instead of disk-000003\.vmdk' "$T/out"
    "$TOOL" merge --snapshot disk-000003.vmdk > "$T/out"
    grep -q '\.vmx of .* must now name disk-000001\.vmdk instead of disk-000003\.vmdk' "$T/out"
    [ "$(digest disk.vmdk)" = "${digests[3]}" ]
    [ "$(digest disk-000001.vmdk)" = "${digests[3]}" ]
    qemu-io -f vmdk -c 'read -P 13 350k 50k' -c 'write -P 9 0 64k' disk-000001.vmdk > "$T/io"
    ! grep -q failed "$T/io" || { cat "$T/io"; fail 'QEMU does not write to the new child'; }
    "$TOOL" merge disk-000001.vmdk > "$T/out"
    grep -q '\.vmx of .* must now name disk\.vmdk instead of disk-000001\.vmdk' "$T/out"
    qemu-io -f vmdk -c 'read -P 9 0 64k' -c 'read -P 13 350k 50k' disk.vmdk > "$T/io"
    ! grep -q failed "$T/io" || { cat "$T/io"; fail 'not what was written'; }
done

# Kept files do not fit any more, and say so.
rm -rf "$T/vm"; mkdir "$T/vm"; cd "$T/vm"
qemu-img create -q -f vmdk disk.vmdk 1M
qemu-img create -q -f vmdk -b disk.vmdk -F vmdk a.vmdk
qemu-io -f vmdk -c 'write -P 5 0 64k' a.vmdk > /dev/null
cp -r . "$T/copy"
"$TOOL" merge --quiet --keep a.vmdk
expect_fail 'was made on content' "$TOOL" info --chain a.vmdk
qemu-io -f vmdk -c 'read -P 5 0 64k' disk.vmdk | grep -q 'read 65536'

# Locks, branches, and a larger child.
rm -rf ./*; cp -r "$T/copy"/* .
touch disk.vmdk.lck
expect_fail 'there is a lock disk.vmdk.lck|there is a lock .*/disk.vmdk.lck' "$TOOL" merge a.vmdk
rm disk.vmdk.lck
qemu-img create -q -f vmdk -b disk.vmdk -F vmdk b.vmdk
expect_fail 'disk\.vmdk has more than one child, .*a\.vmdk and .*b\.vmdk' "$TOOL" merge a.vmdk
rm b.vmdk; mkdir sub
(cd sub; qemu-img create -q -f vmdk -b ../disk.vmdk -F vmdk b.vmdk)
expect_fail 'more than one child' "$TOOL" merge --parent-path=sub a.vmdk
rm -r sub
same a.vmdk "$T/copy/a.vmdk"
same disk.vmdk "$T/copy/disk.vmdk"
