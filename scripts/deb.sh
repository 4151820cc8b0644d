#!/bin/bash
# Build the Debian packages: make deb.  They are in build/deb at the end.
#
# What is packaged is what "make dist" packs, in a directory of its own.  The tests
# do not run, since "make check" is there for that; with CHECK=1 they do, and TESTS
# selects some.
set -euo pipefail
cd "$(dirname "$0")/.."
tarball=$1 version=$2
CHECK=${CHECK:-} TESTS=${TESTS:-} JOBS=${JOBS:-$(nproc)}

command -v dpkg-buildpackage >/dev/null ||
    { echo '"make deb" needs Debian'"'"'s tools: apt-get install build-essential debhelper' >&2; exit 1; }
[ "$(dpkg-parsechangelog -S Version)" = "$version" ] ||
    { echo "debian/changelog is not for version $version" >&2; exit 1; }

rm -rf build/deb
mkdir -p build/deb
tar -C build/deb -xzf "$tarball"
cd "build/deb/nbdkit-vmdkdelta-$version"

# Nothing of the make that calls us: dh finds its own way.
unset MAKEFLAGS MFLAGS MAKELEVEL
export TESTS JOBS
if [ -z "$CHECK" ]; then
    export DEB_BUILD_OPTIONS="nocheck ${DEB_BUILD_OPTIONS:-}" DEB_BUILD_PROFILES="nocheck ${DEB_BUILD_PROFILES:-}"
fi
dpkg-checkbuilddeps || { echo 'To install what is missing: apt-get build-dep .' >&2; exit 1; }
dpkg-buildpackage -us -uc -j"$JOBS"
cd ../../..
ls build/deb/*.deb
