# shellcheck shell=bash
# New Debian root file systems to try things in; sourced by fresh-root.sh and matrix.sh.
#
#   root_begin COMMAND...     become root (COMMAND is run again by sudo), find the mirror
#   root_new NAME SUITE       make $work/NAME: a minimal system, nothing else
#   root_apt NAME PACKAGE...  install packages in it
#   root_source NAME          put our source into its /src
#   root_in NAME COMMAND...   run a command in it
#   root_end NAME             remove it
#
# Needs root (or sudo), debootstrap, and a Debian host, whose apt configuration names
# the mirror.  Where that is not to be had, root_begin and root_new end the script with
# status 77 and the reason.  The unpacked minimal system is kept as a tarball in
# $FRESH_ROOT_CACHE (default /var/tmp/vmdkdelta-fresh-root), so the second time is
# quick.  All roots are removed when the script ends, unless KEEP=1.
#
# $work is a directory for the caller's files too.

name=$(basename "$0" .sh)
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${FRESH_ROOT_CACHE:-/var/tmp/vmdkdelta-fresh-root}

die () { echo "$name: $*" >&2; exit 1; }
cannot () { echo "$name: $*"; exit 77; }

# "URI SUITE" of each source of packages that this host's apt has.
_sources () {
    apt-get indextargets --format '$(REPO_URI) $(RELEASE)' \
        'Created-By: Packages' 'Component: main' | sort -u
}

_umount () { umount "$work/$1/dev/pts" "$work/$1/sys" "$work/$1/proc" 2>/dev/null || :; }

_finish () {
    local status=$? dir
    for dir in "$work"/*/; do
        [ ! -d "$dir/proc" ] || _umount "$(basename "$dir")"
    done
    # Never remove anything through a mount that is still there.
    if grep -q " $work/" /proc/mounts; then
        echo "$name: $work still has mounts; it is left there" >&2
    elif [ "${KEEP:-}" ]; then
        echo "$name: the roots are left in $work" >&2
    else
        rm -rf --one-file-system "$work"
    fi
    exit $status
}

root_begin () {
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || cannot 'needs root, to make a root file system'
        [ "${CI:-}" != true ] || sudo -n true 2>/dev/null || cannot 'needs root, to make a root file system'
        exec sudo --preserve-env=WORKTREE,KEEP,CI,FRESH_ROOT_CACHE "$@"
    fi
    command -v debootstrap >/dev/null || cannot 'debootstrap is missing (apt-get install debootstrap)'
    command -v apt-get >/dev/null || cannot 'needs a Debian host, whose apt knows a mirror'
    host_suite=$(. /etc/os-release; echo "${VERSION_CODENAME:-}")
    mirror=$(_sources | awk -v s="$host_suite" '$2 == s && !n++ { print $1 }')
    [ "$mirror" ] || cannot "apt has no source for $host_suite on this host"
    work=$(mktemp -d /var/tmp/vmdkdelta-root.XXXXXX)
    trap _finish EXIT
    trap 'exit 130' INT TERM HUP
}

root_new () {
    local root=$work/$1 suite=$2 tarball=$cache/$2.tar release=${mirror%/}/dists/$2/Release file
    echo "== $1: $suite from $mirror"
    /usr/lib/apt/apt-helper download-file "$release" "$work/Release" \
        >/dev/null 2>&1 || cannot "the package mirror does not give $release"
    mkdir -p "$root" "$cache"
    if [ -f "$tarball" ]; then
        tar -C "$root" -xf "$tarball"
    else
        debootstrap --variant=minbase "$suite" "$root" "$mirror" \
            > "$work/debootstrap.log" 2>&1 || { tail -n 20 "$work/debootstrap.log" >&2; die 'debootstrap failed'; }
        tar -C "$root" -cf "$tarball.new" --exclude='./proc/*' . && mv "$tarball.new" "$tarball"
    fi

    # The host's sources of the same suite, updates and security included.
    rm -f "$root"/etc/apt/sources.list.d/*
    _sources | awk -v s="$suite" '$2 == s || index ($2, s "-") == 1' | while read -r uri dist; do
        echo "deb $uri $dist main"
    done | sort -u > "$root/etc/apt/sources.list"
    [ -s "$root/etc/apt/sources.list" ] || echo "deb $mirror $suite main" > "$root/etc/apt/sources.list"
    file=$root/etc/apt/apt.conf.d/99host
    apt-config dump 2>/dev/null | grep -iE '^Acquire::(https?|Check|Retries)[^ ]* "[^"]' > "$file" || :
    # A mirror that stands still has an expired Release file for sid.
    case $suite in sid|unstable) echo 'Acquire::Check-Valid-Until "false";' >> "$file" ;; esac
    cp -L /etc/resolv.conf /etc/hosts "$root/etc/"

    mount -t proc proc "$root/proc"
    mount -t sysfs -o ro sysfs "$root/sys"
    mkdir -p "$root/dev/pts"
    mount -t devpts -o newinstance,ptmxmode=0666,mode=0620 devpts "$root/dev/pts"
    ln -sf pts/ptmx "$root/dev/ptmx"
    # Devices that tests use, where the host has them.
    for file in /dev/fuse /dev/loop-control /dev/loop[0-9]; do
        [ ! -e "$file" ] || cp -a "$file" "$root/dev/"
    done
    root_in "$1" apt-get -q update > "$work/apt.log" 2>&1 ||
        { tail -n 20 "$work/apt.log" >&2; die 'apt-get update failed'; }
}

root_in () {
    local root=$work/$1
    shift
    chroot "$root" /usr/bin/env -i HOME=/root TERM="${TERM:-dumb}" LANG=C ${CI:+CI=$CI} \
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        DEBIAN_FRONTEND=noninteractive "$@" </dev/null
}

root_apt () {
    local to=$1
    shift
    root_in "$to" apt-get -q -y --no-install-recommends install "$@" > "$work/apt.log" 2>&1 ||
        { tail -n 20 "$work/apt.log" >&2; die "apt-get install failed: $*"; }
}

# The last commit, or with WORKTREE=1 all files as they are now.
root_source () {
    mkdir "$work/$1/src"
    if [ "${WORKTREE:-}" ] || [ ! -e "$top/.git" ]; then
        tar -C "$top" --exclude=./build --exclude=./.git --exclude='*.so' --exclude=./tool/vmdkdelta -cf - . |
            tar -C "$work/$1/src" --no-same-owner -xf -
    else
        git -C "$top" -c safe.directory="$top" archive HEAD | tar -C "$work/$1/src" -xf -
    fi
}

root_end () {
    _umount "$1"
    [ "${KEEP:-}" ] || rm -rf --one-file-system "${work:?}/$1"
}
