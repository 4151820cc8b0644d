#!/bin/bash
# The name of an extent comes from a file that nobody vouches for: it leads only below
# the descriptor's directory and directories that the user names, and only to regular
# files and block devices.  Nothing of what lies outside is shown.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need plugin filter mkimage nbdcopy nbdinfo timeout perl

secret=SECRET-$RANDOM-$RANDOM
mkdir -p vm/sub outside
head -c 65536 < <(yes "$secret" 2>/dev/null) > outside.raw
cp outside.raw outside/disk.raw
head -c 65536 < <(yes inside 2>/dev/null) > vm/inside.raw
cp vm/inside.raw vm/sub/inside.raw
ln -s ../outside.raw vm/link-out.raw
ln -s inside.raw vm/link-in.raw
ln -s sub/../inside.raw vm/link-in2.raw
ln -s "$T/vm/inside.raw" vm/link-abs.raw
ln -s ../outside vm/dir-out
ln -s sub vm/dir-in
ln -s dir-out/disk.raw vm/link-via
ln -s loop vm/loop

# disk NAME: vm/d.vmdk with this extent, and vm/c.vmdk, a delta with it.
disk () {
    printf '# Disk DescriptorFile\nCID=1\nRW 128 FLAT "%s"\n' "$1" > vm/d.vmdk
    printf '# Disk DescriptorFile\nCID=2\nparentCID=1\nRW 128 FLAT "%s"\n' "$1" > vm/c.vmdk
}
head -c 65536 /dev/zero > zeros

# allowed NAME ARGS...: reads the inside file (or, with the options, the outside one).
allowed () {
    local want=$1 name=$2
    shift 2
    disk "$name"
    nbdkit "$PLUGIN" vm/d.vmdk "$@" --run "nbdcopy \"\$uri\" '$T/out'"
    same out "$want"
    nbdkit_run file zeros delta=vm/c.vmdk delta-follow=false "${@/#/delta-}" --run "nbdcopy \"\$uri\" '$T/out'"
    same out "$want"
}

# denied REGEX NAME: neither starts, quickly, and the secret is not in what is said.
denied () {
    local face
    disk "$2"
    for face in plugin filter; do
        case $face in
            plugin) expect_fail "$1" nbdkit "$PLUGIN" vm/d.vmdk --run "nbdcopy \"\$uri\" '$T/out'" ;;
            filter) expect_fail "$1" nbdkit_run file zeros delta=vm/c.vmdk delta-follow=false \
                        --run "nbdcopy \"\$uri\" '$T/out'" ;;
        esac
        if grep -aq "$secret" "$T/output"; then fail "the secret is shown"; fi
        grep -Eq "error: .*$T/vm/[cd].vmdk" "$T/output" || { cat "$T/output"; fail "the descriptor is not named"; }
    done
}

for name in inside.raw ./inside.raw sub/inside.raw sub/../inside.raw ../vm/inside.raw "$T/vm/inside.raw" \
            "$T/outside/../vm/inside.raw" link-in.raw link-in2.raw link-abs.raw dir-in/inside.raw; do
    allowed vm/inside.raw "$name"
done

out="refers to .*, which leads outside of $T/vm; only what lies below that directory.*parent-path.*unconfined|names '.*', a device of the machine"
for name in ../outside.raw /etc/passwd "$T/outside.raw" sub/../../outside.raw link-out.raw dir-out/disk.raw \
            link-via "$T/vm/../outside.raw" /proc/self/environ /proc/self/mem /dev/zero /dev/stdin /dev/fd/0 \
            ../../../../../../../../etc/passwd /; do
    denied "$out" "$name"
    grep -Fq -e "refers to $name" -e "names '$name'" "$T/output" || fail "the name is not said: $name"
done
denied "refers to loop" loop
for name in gone.raw sub/gone.raw inside.raw/x; do
    denied "refers to $name: .*(No such file|Not a directory)" "$name"
done
# Outside, one cannot even ask what there is.
disk ../gone.raw
expect_fail "refers to ../gone.raw, which leads outside" nbdkit "$PLUGIN" vm/d.vmdk --run true

# Allowed by the user.
for name in ../outside.raw "$T/outside.raw"; do
    allowed outside.raw "$name" parent-path=.
    allowed outside.raw "$name" unconfined=true
done
allowed outside.raw dir-out/disk.raw parent-path=outside
allowed outside.raw link-via unconfined=true
disk ../outside.raw
expect_fail 'leads outside' nbdkit "$PLUGIN" vm/d.vmdk parent-path=outside --run true

# Kinds of files, in the directory itself, and also with unconfined=true.
limited () { timeout 300 env ${NBDKIT_PRELOAD:+LD_PRELOAD=$NBDKIT_PRELOAD} nbdkit -U - "$PLUGIN" "$@" --run true; }
mkfifo vm/fifo
perl -MIO::Socket::UNIX -e 'IO::Socket::UNIX->new (Local => "vm/socket", Listen => 1) or die $!'
mkdir vm/dir
ln -s fifo vm/link-fifo
kind='is (neither a regular file nor a block device|a directory|a named pipe|a socket|a character device)'
for name in fifo socket dir link-fifo .; do
    disk "$name"
    for options in "" unconfined=true; do
        expect_fail "$kind|leads outside" limited vm/d.vmdk $options
    done
done
for name in /dev/zero /dev/stdin; do
    disk "$name"
    expect_fail "$kind|No such" limited vm/d.vmdk unconfined=true <> vm/fifo
done
