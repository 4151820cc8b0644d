#!/bin/bash
# Every supported nbdkit: build, test, package and install against each (make matrix).
#
#   scripts/matrix.sh [--lean] [SUITE...]
#
# A SUITE of Debian stands for its nbdkit: bookworm 1.32, trixie 1.42, sid 1.48 or
# newer; all three unless given.  For each there are two new root file systems.  In one
# we are built, with warnings as errors, tested, and packaged.  The other is minimal: the
# packages are installed there, and tests/installed.sh does the main job with them.
#
# --lean builds once, as a package, and runs only the tests that have to do with nbdkit.
# What is needed for making roots: see scripts/root.sh.
set -uo pipefail
. "$(dirname "$0")/root.sh"
. "$(dirname "$0")/sections.sh"
root_begin "$0" "$@"
cd "$top" || exit 1
tmp=$work

lean=
if [ "${1:-}" = --lean ]; then lean=1; shift; fi
[ $# -gt 0 ] || set -- bookworm trixie sid

# Those that take long, or more than the packages that we build with, are left out.
the_lean_tests () {
    (cd tests && ls meta/*.sh test-filter-*.sh test-plugin-*.sh test-chain-filter-*.sh test-doc-keys.sh) |
        grep -vE 'random|truncated|ssh-base' | sed 's,.*/,,' | tr '\n' ' '
}

make_in () { root_in build env WERROR=1 ${CHECK:+CHECK=1} ${TESTS:+"TESTS=$TESTS"} make -C /src -j"$(nproc)" "$@"; }

# version SUITE: that of the nbdkit there, if it is the one that we think.
version () {
    local v
    v=$(root_in build pkg-config --modversion nbdkit) || return
    case $1:$v in
        bookworm:1.32.*|trixie:1.42.*) ;;
        sid:1.4[89].*|sid:1.[5-9]?.*) ;;
        bookworm:*|trixie:*|sid:*) echo "$1 has nbdkit $v, which is not what it is here for" >&2; return 1 ;;
    esac
    echo "$v"
}

dependencies () {  # SUITE
    root_new build "$1" || return
    root_source build
    # What debian/control asks for, and in the longer run our own list too, with clients.
    root_in build apt-get -q -y --no-install-recommends build-dep /src > "$work/apt.log" 2>&1 ||
        { tail -n 20 "$work/apt.log"; return 1; }
    [ "$lean" ] || root_in build /src/scripts/deps.sh --tests || return
    version "$1"
}

packages () {
    make_in deb || return
    mkdir -p "$work/debs"
    rm -f "$work"/debs/*
    cp "$work"/build/src/build/deb/*.deb "$work/debs"
    # Three packages, and the filter's fits this nbdkit only.
    dpkg-deb -f "$work"/debs/nbdkit-filter-vmdkdelta_*.deb Depends | tee "$work/depends"
    grep -q "nbdkit (>= $1), nbdkit (<< ${1%.*}\.$((${1##*.} + 1))~)" "$work/depends"
}

lint () {
    root_apt build lintian
    root_in build sh -c 'cd /src/build/deb && useradd lint && su lint -s /bin/sh -c \
        "lintian --info --fail-on error,warning --suppress-tags unreleased-changes *.changes"'
}

rpms () {
    root_apt build rpm
    # Debian's rpm knows nothing of what is installed here.
    make_in rpm RPMFLAGS='--nodeps --without check' || return
    for p in nbdkit-vmdkdelta-filter nbdkit-vmdk-plugin vmdkdelta; do
        root_in build sh -c "rpm -qp --list --requires /src/build/rpm/RPMS/*/$p-[0-9]*.rpm" || return
    done | tee "$work/rpms"
    grep -Eq "^nbdkit-server(\(.*\))? = $1\$" "$work/rpms" && grep -q '/nbdkit-vmdk-plugin\.so$' "$work/rpms"
}

installed () {  # SUITE VERSION
    root_new clean "$1" || return
    mkdir "$work/clean/debs" "$work/clean/t"
    cp "$work"/debs/*_*.deb "$work/clean/debs"
    rm -f "$work"/clean/debs/*-dbgsym_*
    cp tests/installed.sh "$work/clean/t"
    root_apt clean libnbd-bin man-db
    root_in clean sh -c 'apt-get -q -y --no-install-recommends install /debs/*.deb' || return
    root_in clean /t/installed.sh "$2" || return
    # The examples, and the pages that they refer to.
    root_in clean sh -ec 'cd /usr/share/doc/vmdkdelta; test -x examples/migrate-live.sh; test -s docs/migrate.md' || return
    # Everything is removed again.
    root_in clean apt-get -q -y purge vmdkdelta nbdkit-filter-vmdkdelta nbdkit-plugin-vmdk || return
    ! root_in clean find / -xdev \( -path /debs -o -path /var/cache/man \) -prune -o -name '*vmdk*' -print | grep . || return
}

for suite; do
    if section "$suite: root" dependencies "$suite" && [ -d "$work/build/src" ]; then
        v=$(version "$suite")
        if [ "$lean" ]; then
            CHECK=1 TESTS=$(the_lean_tests) section "$suite: build, tests, packages" packages "$v" &&
                section "$suite: installed" installed "$suite" "$v"
        else
            section "$suite: build" make_in all tests &&
                section "$suite: tests" make_in check
            section "$suite: packages" packages "$v" && {
                section "$suite: lintian" lint
                section "$suite: installed" installed "$suite" "$v"
            }
            section "$suite: rpm" rpms "$v"
        fi
    fi
    root_end build
    root_end clean
done
total
