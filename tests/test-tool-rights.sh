#!/bin/bash
# Who may read what is written, over all verbs of the command, and in filter and plugin: a
# new file that holds data of a disk has the mode, the owner and the access list of that
# disk, and is for nobody else while it grows; a file that is replaced keeps its own.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need tool plugin filter mkimage qemu-img qemu-io nbdkit:plugin:file nbdkit:filter:delay
. "$top_srcdir/tests/merge.sh"

[ "$("$TOOL" --verbs | sort | tr '\n' ' ')" = 'apply check compact compare create fetch info map merge snapshot sync ' ] ||
    fail 'there is a verb that this test does not know'      # compare writes nothing, fetch: see test-fetch
umask 022
# own and is: root in a directory of somebody else
root=
if [ "$(id -u)" -eq 0 ]; then root=yes; fi

# own MODE FILE...: give it that mode, and to somebody else, if we may.
own () {
    local mode=$1
    shift
    if [ "$root" ]; then chown 4711:4712 "$@"; fi
    chmod "$mode" "$@"
}
# is MODE FILE...: it has that mode, and that owner.
is () {
    local mode=$1 file who
    shift
    who=$(id -u):$(id -g)
    if [ "$root" ]; then who=4711:4712; fi
    for file; do
        [ "$(stat -c '%a %u:%g' "$file")" = "$mode $who" ] ||
            fail "$file: $(stat -c '%a %u:%g' "$file"), expected $mode $who"
    done
}

size=4M
"$MKIMAGE" make cowd a-delta.vmdk --capacity=$size --fill=60 --descriptor=a.vmdk \
    --parent=base.vmdk --parent-cid=12345678 --cid=9abcdef0
head -c $size /dev/urandom > old.img
cp old.img new.img
head -c 1000000 /dev/urandom | dd of=new.img bs=64K seek=3 conv=notrunc status=none

# A machine, whose file is replaced by merge.
if command -v xz > /dev/null; then
    unpack vb-vdi-tiny-2
    mkdir "$T/machine"
    cp "${chain[@]}" "$T/machine"
    make_machine "$T/machine/m.vbox" ${#chain[@]} "${chain[@]}"
    cd "$T"
fi

# Nothing here depends on it.
masks=([600]=000 [640]=022 [660]=077 [644]=022 [604]=000)
for mode in 600 640 660 644 604; do
    umask ${masks[mode]}
    rm -rf w; mkdir -m 755 w
    if [ "$root" ]; then chown 4711:4712 w; fi
    # -- apply: the undo file, the note of what the target holds; the target is as it was
    cp old.img w/flat.img
    own $mode w/flat.img
    "$TOOL" apply --quiet --undo=w/undo.vmdk a.vmdk w/flat.img
    is $mode w/flat.img w/undo.vmdk w/flat.img.vmdkdelta-state

    # -- sync: a new target, and the note
    printf '# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\ncreateType="vmfs"\nRW 8192 VMFS "flat.img"\n' > w/base.vmdk
    cp a.vmdk a-delta.vmdk w
    rm w/flat.img.vmdkdelta-state
    "$TOOL" sync --quiet w/a.vmdk w/synced.img
    is $mode w/synced.img w/synced.img.vmdkdelta-state
    rm w/a*

    # -- create: what is in the delta comes from --to
    cp new.img w/new.img
    own $mode w/new.img
    for format in sparse cowd stream; do
        "$TOOL" create --quiet --from old.img --to w/new.img --format=$format w/$format.vmdk
    done
    is $mode w/sparse.vmdk w/cowd.vmdk w/cowd-delta.vmdk w/stream.vmdk
    # the descriptor that is made for a raw base is like that
    cp old.img w/raw.img
    own $mode w/raw.img
    "$TOOL" create --quiet --from w/raw.img --to new.img --base-descriptor=w/raw.vmdk w/on-raw.vmdk
    is $mode w/raw.vmdk
    # of a chain it is the file that the fewest may read
    qemu-img create -q -f vmdk w/b.vmdk $size
    qemu-io -f vmdk -c 'write -P 7 0 1M' w/b.vmdk > /dev/null
    qemu-img create -q -f vmdk -b b.vmdk -F vmdk w/c.vmdk
    own $mode w/b.vmdk
    own 666 w/c.vmdk
    "$TOOL" create --quiet --from old.img --to w/c.vmdk w/of-chain.vmdk
    is $mode w/of-chain.vmdk

    # -- compact
    own $mode w/b.vmdk
    "$TOOL" compact --quiet --output=w/dense.vmdk w/b.vmdk
    is $mode w/dense.vmdk
    "$TOOL" compact --quiet w/b.vmdk
    is $mode w/b.vmdk

    # -- merge
    own $mode w/b.vmdk w/c.vmdk
    "$TOOL" merge --quiet --snapshot=s w/c.vmdk
    is $mode w/b.vmdk w/c-000001.vmdk
    # a COWD base, and VDI
    mkdir w/e w/v
    qemu-img create -q -f vmdk -o subformat=monolithicFlat w/e/e.vmdk $size
    "$TOOL" create --quiet --from w/e/e.vmdk --to new.img --format=cowd w/e/e-1.vmdk
    own $mode w/e/*
    "$TOOL" merge --quiet --snapshot=s w/e/e-1.vmdk
    is $mode w/e/*

    # -- snapshot: an empty child
    qemu-img create -q -f vdi w/v/v.vdi $size
    own $mode w/dense.vmdk w/v/v.vdi
    "$TOOL" snapshot w/dense.vmdk w/dense-1.vmdk > /dev/null
    "$TOOL" snapshot w/v/v.vdi w/v/v-1.vdi > /dev/null
    is $mode w/dense.vmdk w/dense-1.vmdk w/v/v.vdi w/v/v-1.vdi
    # of a chain, whatever link is on top
    own 666 w/dense-1.vmdk
    "$TOOL" snapshot w/dense-1.vmdk w/dense-2.vmdk > /dev/null
    is $mode w/dense-2.vmdk

    # -- a machine: its file is replaced, and the old one kept
    if [ -d machine ] && [ $mode -ne 640 ]; then
        cp -r machine w/m
        own $mode w/m/*
        "$TOOL" merge --quiet --snapshot=s w/m/m.vbox
        [ $(find w/m -type f | wc -l) -ge 4 ] || { ls -R w/m; fail 'a machine has disk, child, file, old file'; }
        find w/m -type f > files
        while read -r file; do is $mode "$file"; done < files
    fi

    # -- map: a picture; one that is replaced
    "$TOOL" map --picture=w/p.svg w/b.vmdk
    own $mode w/p.svg
    "$TOOL" map --picture=w/p.svg w/b.vmdk
    is $mode w/p.svg
    # -- info and check write nothing
    before=$(cd w; ls -lR --time-style=full-iso)
    "$TOOL" info w/b.vmdk > /dev/null
    "$TOOL" check w/b.vmdk > /dev/null
    [ "$(cd w; ls -lR --time-style=full-iso)" = "$before" ] || fail 'info or check wrote something'

    # -- create --force: the rights are those of the file that was there
    own 644 w/new.img
    for format in sparse cowd stream; do
        files=(w/$format.vmdk)
        if [ $format = cowd ]; then files+=(w/cowd-delta.vmdk); fi
        own $mode "${files[@]}"
        "$TOOL" create --quiet --force --from old.img --to w/new.img --format=$format w/$format.vmdk
        is $mode "${files[@]}"
    done

    if [ $mode -eq 640 ] || [ $mode -eq 660 ]; then continue; fi    # they take time
    # -- plugin and filter: what clients write goes into a new child
    own 666 w/dense-2.vmdk
    nbdkit -U - "$PLUGIN" w/dense-2.vmdk write-to=w/dense-3.vmdk \
        --run 'qemu-io -f raw -c "write -P 9 1M 64k" "$uri"' > /dev/null
    is $mode w/dense-3.vmdk
    cp a.vmdk a-delta.vmdk w/
    own $mode w/a.vmdk w/a-delta.vmdk
    nbdkit -U - --filter="$FILTER" file old.img delta=w/a.vmdk delta-write-to=w/b-1.vmdk \
        --run 'qemu-io -f raw -c "write -P 9 1M 64k" "$uri"' > /dev/null
    [ "$(stat -c %a w/b-1.vmdk)" = $mode ]
    for file in w/b-1*.vmdk; do is $mode $file; done
    # over bytes whose owner is not known it is private
    nbdkit -U - --filter="$FILTER" file old.img delta-write-to=w/first.vmdk \
        --run 'qemu-io -f raw -c "write -P 9 1M 64k" "$uri"' > /dev/null
    [ "$(stat -c %a w/first.vmdk)" = 600 ] || fail "$(stat -c %a w/first.vmdk)"
done

umask 022

# What has no file to be like is as any new file.
start file old.img; from=$uri
start file new.img; to=$uri
(umask 027; "$TOOL" create --quiet --from "$from" --to "$to" nbd.vmdk)
[ "$(stat -c %a nbd.vmdk)" = 640 ] || fail "nbd.vmdk: $(stat -c %a nbd.vmdk)"
stop; stop

# While it grows
cp new.img secret.img
chmod 644 secret.img
start --filter=delay file old.img rdelay=1
"$TOOL" create --quiet --from "$uri" --to secret.img slow.vmdk & pid=$!
for ((i = 0; i < 100; i++)); do
    part=$(ls slow.vmdk.*.part 2> /dev/null) || :
    if [ "$part" ]; then break; fi
    sleep 0.05
done
[ "$part" ] || fail 'there is no temporary file'
[ "$(stat -c %a "$part")" = 600 ] || fail "the temporary file: $(stat -c %a "$part")"
wait $pid
stop
[ "$(stat -c %a slow.vmdk)" = 644 ] || fail "slow.vmdk: $(stat -c %a slow.vmdk)"

# A disk of somebody else: what its group may, our group may not.
if [ "$root" ] && command -v setpriv > /dev/null; then
    chmod 755 .
    mkdir -m 777 theirs
    cp new.img theirs/new.img
    chmod 664 theirs/new.img
    cp "$TOOL" old.img theirs/
    # (a sanitizer may not be traced by another user)
    if setpriv --reuid 4711 --regid 4713 --clear-groups theirs/vmdkdelta --version > /dev/null 2>&1; then
        (cd theirs; setpriv --reuid 4711 --regid 4713 --clear-groups ./vmdkdelta create --quiet \
            --from old.img --to new.img d.vmdk)
        [ "$(stat -c '%a %u:%g' theirs/d.vmdk)" = '604 4711:4713' ] || fail "$(stat -c '%a %u:%g' theirs/d.vmdk)"
        # Who was in its group is among all others now.
        chmod 604 theirs/new.img
        (cd theirs; rm d.vmdk; setpriv --reuid 4711 --regid 4713 --clear-groups ./vmdkdelta create --quiet \
            --from old.img --to new.img d.vmdk)
        [ "$(stat -c '%a %u:%g' theirs/d.vmdk)" = '600 4711:4713' ] || fail "$(stat -c '%a %u:%g' theirs/d.vmdk)"
    fi
fi

# Access lists and other attributes
attribute () { python3 -c 'import os, sys
f, name = sys.argv[1:3]
if len (sys.argv) > 3: os.setxattr (f, name, bytes.fromhex (sys.argv[3]))
else: print (os.getxattr (f, name).hex () if name in os.listxattr (f) else "")' "$@"; }
# user::rw- user:33:r-- group::--- mask::r-- other::---
acl=0200000001000600ffffffff020004002100000004000000ffffffff10000400ffffffff20000000ffffffff
if command -v python3 > /dev/null && attribute new.img user.note 616263 2> /dev/null &&
   attribute new.img system.posix_acl_access $acl 2> /dev/null; then
    "$TOOL" create --quiet --from old.img --to new.img like.vmdk
    [ "$(attribute like.vmdk system.posix_acl_access)" = $acl ] || fail 'another access list'
    [ "$(stat -c %a like.vmdk)" = 640 ]
    # that is of the disk, not of what is made of it
    [ -z "$(attribute like.vmdk user.note)" ]
    attribute like.vmdk user.note 646566
    "$TOOL" create --quiet --force --from old.img --to secret.img like.vmdk
    [ "$(attribute like.vmdk system.posix_acl_access)" = $acl ] || fail '--force lost the access list'
    [ "$(attribute like.vmdk user.note)" = 646566 ] || fail '--force lost an attribute'

    # A machine's file is replaced, and so is a descriptor.
    if [ -d machine ]; then
        cp -r machine kept
        own 640 kept/*
        attribute kept/m.vbox system.posix_acl_access $acl
        attribute kept/m.vbox user.note 676869
        "$TOOL" merge --quiet kept/m.vbox
        for file in kept/m.vbox kept/m.vbox-prev; do
            [ "$(attribute $file system.posix_acl_access)" = $acl ] || fail "$file: the access list"
            [ "$(attribute $file user.note)" = 676869 ] || fail "$file: an attribute"
        done
    fi
    mkdir text
    qemu-img create -q -f vmdk -o subformat=monolithicFlat text/t.vmdk $size
    (cd text; qemu-img create -q -f vmdk -b t.vmdk -F vmdk t-1.vmdk)
    attribute text/t.vmdk system.posix_acl_access $acl
    attribute text/t.vmdk user.note 676869
    "$TOOL" merge --quiet text/t-1.vmdk
    [ "$(attribute text/t.vmdk system.posix_acl_access)" = $acl ] || fail 'a descriptor lost its access list'
    [ "$(attribute text/t.vmdk user.note)" = 676869 ] || fail 'a descriptor lost an attribute'

    # A directory gives its list to new files; the disk has none.
    mkdir given
    attribute given system.posix_acl_default $acl
    "$TOOL" create --quiet --from old.img --to secret.img given/d.vmdk
    [ -z "$(attribute given/d.vmdk system.posix_acl_access)" ] || fail 'it has a list that the disk has not'
    [ "$(stat -c %a given/d.vmdk)" = 644 ]
else
    echo 'access lists: not on this file system, or no python3'
fi
