#!/bin/bash
# Try the project where nothing is installed yet: a new Debian root.
#
#   scripts/fresh-root.sh [SUITE] [MAKE-TARGET...]
#
# SUITE is that of this host unless given (bookworm, trixie, sid, ...); the
# targets are "deps check demo" unless given.  The last commit goes into the
# root, or with WORKTREE=1 all files as they are now.  In it there are only a
# minimal system, make and git.
#
# Needs root (or sudo), debootstrap, and a Debian host, whose apt configuration
# names the mirror.  The unpacked root is kept as a tarball in
# $FRESH_ROOT_CACHE (default /var/tmp/vmdkdelta-fresh-root), so the second time
# is quick; the root itself is removed at the end, unless KEEP=1.
set -euo pipefail

if [ "$(id -u)" -ne 0 ]; then
    exec sudo --preserve-env=WORKTREE,KEEP,CI,FRESH_ROOT_CACHE "$0" "$@"
fi
top=$(cd "$(dirname "$0")/.." && pwd)
cache=${FRESH_ROOT_CACHE:-/var/tmp/vmdkdelta-fresh-root}
die () { echo "fresh-root: $*" >&2; exit 1; }
command -v debootstrap >/dev/null || die 'debootstrap is missing (apt-get install debootstrap)'

# "URI SUITE" of each source of packages that this host's apt has.
sources () {
    apt-get indextargets --format '$(REPO_URI) $(RELEASE)' \
        'Created-By: Packages' 'Component: main' | sort -u
}
host_suite=$(. /etc/os-release; echo "${VERSION_CODENAME:-}")
read -r mirror _ < <(sources | awk -v s="$host_suite" '$2 == s') || [ "${mirror:-}" ] ||
    die "no apt source for $host_suite on this host"

suite=$host_suite
case ${1:-} in
    ''|all|deps|check|check-long|demo|dist|install|clean|help|lib|tests) ;;
    *) suite=$1; shift ;;
esac
[ $# -gt 0 ] || set -- deps check demo

# ---- The root ---------------------------------------------------------------

work=$(mktemp -d /var/tmp/vmdkdelta-root.XXXXXX)
root=$work/root
finish () {
    local status=$?
    umount "$root/dev/pts" "$root/proc" 2>/dev/null || :
    # Never remove anything through a mount that is still there.
    if grep -q " $root/" /proc/mounts; then
        echo "fresh-root: $root still has mounts; it is left there" >&2
    elif [ "${KEEP:-}" ]; then
        echo "fresh-root: the root is left in $root" >&2
    else
        rm -rf --one-file-system "$work"
    fi
    exit $status
}
trap finish EXIT
trap 'exit 130' INT TERM HUP

echo "== root: $suite from $mirror"
mkdir -p "$root" "$cache"
tarball=$cache/$suite.tar
if [ -f "$tarball" ]; then
    tar -C "$root" -xf "$tarball"
else
    debootstrap --variant=minbase "$suite" "$root" "$mirror" \
        > "$work/debootstrap.log" 2>&1 || { tail -n 20 "$work/debootstrap.log" >&2; die 'debootstrap failed'; }
    tar -C "$root" -cf "$tarball.new" --exclude='./proc/*' . && mv "$tarball.new" "$tarball"
fi

# The host's sources of the same suite, updates and security included.
sources | awk -v s="$suite" '$2 == s || index ($2, s "-") == 1' | while read -r uri name; do
    echo "deb $uri $name main"
done | sort -u > "$root/etc/apt/sources.list"
[ -s "$root/etc/apt/sources.list" ] || echo "deb $mirror $suite main" > "$root/etc/apt/sources.list"
apt-config dump 2>/dev/null | grep -iE '^Acquire::(https?|Check|Retries)[^ ]* "[^"]' \
    > "$root/etc/apt/apt.conf.d/99host" || :
cp -L /etc/resolv.conf /etc/hosts "$root/etc/"

mount -t proc proc "$root/proc"
mkdir -p "$root/dev/pts"
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620 devpts "$root/dev/pts"
ln -sf pts/ptmx "$root/dev/ptmx"

inside () {
    chroot "$root" /usr/bin/env -i HOME=/root TERM="${TERM:-dumb}" LANG=C ${CI:+CI=$CI} \
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        DEBIAN_FRONTEND=noninteractive "$@" </dev/null
}

echo '== in it: make and git, nothing else'
inside apt-get -q update > "$work/apt.log" 2>&1 &&
    inside apt-get -q -y --no-install-recommends install make git >> "$work/apt.log" 2>&1 ||
    { tail -n 20 "$work/apt.log" >&2; die 'apt-get failed'; }

mkdir "$root/src"
if [ "${WORKTREE:-}" ]; then
    tar -C "$top" --exclude=./build --exclude=./.git --exclude='*.so' --exclude=./tool/vmdkdelta -cf - . |
        tar -C "$root/src" --no-same-owner -xf -
else
    git -C "$top" -c safe.directory="$top" archive HEAD | tar -C "$root/src" -xf -
fi

echo "== make $*"
SECONDS=0
status=0
inside make -C /src -j"$(nproc)" "$@" || status=$?
echo "== $suite: make $* ended with status $status after $SECONDS s"
exit $status
