#!/bin/bash
# Install what building, testing and the demo need.  Usage: scripts/deps.sh [--tests | --ci]
#
# This is the one list of our dependencies.  A line is what to look for, the
# Debian and Ubuntu package, and the Fedora and RHEL package.  We look for the
# thing and not for the package, so that an nbdkit built from source counts too.
# --tests adds what tests are skipped without: NBD clients, servers for bases, strace;
# --ci these, and all that only continuous integration needs.
set -eu

dependencies () {
    cat <<'LIST'
cmd cc              gcc                gcc
hdr stdlib.h        libc6-dev          glibc-devel
cmd make            make               make
cmd pkg-config      pkg-config         pkgconf-pkg-config
cmd nbdkit          nbdkit             nbdkit
pc  nbdkit          nbdkit-plugin-dev  nbdkit-devel
pc  libcurl         libcurl4-gnutls-dev libcurl-devel
pc  libdeflate      libdeflate-dev     libdeflate-devel
pc  libxml-2.0      libxml2-dev        libxml2-devel
pc  libnbd          libnbd-dev         libnbd-devel
pc  ext2fs          libext2fs-dev      e2fsprogs-devel
cmd nbdcopy         libnbd-bin         libnbd
cmd nbdinfo         libnbd-bin         libnbd
pc  cmocka          libcmocka-dev      libcmocka-devel
cmd qemu-img        qemu-utils         qemu-img
cmd qemu-io         qemu-utils         qemu-img
cmd mke2fs          e2fsprogs          e2fsprogs
cmd debugfs         e2fsprogs          e2fsprogs
cmd pod2man         perl               perl-podlators
cmd podchecker      perl               perl-Pod-Checker
cmd cmp             diffutils          diffutils
cmd xz              xz-utils           xz
cmd nm              binutils           binutils
lib libasan.so      gcc                libasan
lib libubsan.so     gcc                libubsan
LIST
    if [ "$more" ]; then
        echo 'cmd strace          strace             strace'
        echo 'cmd fio             fio                fio'
        echo 'cmd nbdsh           python3-libnbd     python3-libnbd'
        echo 'cmd nbdfuse         libnbd-bin         nbdfuse'
        echo 'cmd fusermount3     fuse3              fuse3'
        echo 'cmd sshd            openssh-server     openssh-server'
        echo 'cmd python3         python3            python3'
    fi
    if [ "$ci" ]; then
        echo 'cmd clang           clang              clang'
        echo 'cmd git             git                git'
        # make fuzz, lint, memcheck; coverage needs gcov, which gcc has
        echo 'crt libclang_rt.fuzzer libclang-rt-dev compiler-rt'
        echo 'cmd clang-tidy      clang-tidy         clang-tools-extra'
        echo 'cmd cppcheck        cppcheck           cppcheck'
        echo 'cmd valgrind        valgrind           valgrind'
        # A virtual machine; scripts/vm-kernel.sh gets its kernel.
        echo 'cmd qemu-system-x86_64 qemu-system-x86 qemu-system-x86-core'
        echo 'cmd busybox         busybox-static     busybox'
        echo 'cmd mformat         mtools             mtools'
        echo 'cmd syslinux        syslinux           syslinux'
        echo 'cmd socat           socat              socat'
        echo 'cmd debootstrap     debootstrap        debootstrap'
    fi
}

# Some of these live in sbin, which is not on every user's path.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

present () {  # KIND NAME
    case $1 in
        cmd) command -v "$2" ;;
        pc)  pkg-config --exists "$2" ;;
        hdr) echo "#include <$2>" | cc -E - ;;
        crt) find "$(clang -print-resource-dir)/" -name "$2*.a" | grep -q . ;;
        lib) [[ $(cc -print-file-name="$2") = /* ]] ;;
    esac >/dev/null 2>&1
}

# Print "THING PACKAGE" for each thing that is missing.
missing () {
    local kind name apt dnf
    dependencies | while read -r kind name apt dnf; do
        present "$kind" "$name" && continue
        case $manager in
            apt-get) echo "$name $apt" ;;
            dnf)     echo "$name $dnf" ;;
            *)       echo "$name $apt|$dnf" ;;
        esac
    done
}

ci= more=
for arg; do
    case $arg in
        --tests) more=1 ;;
        --ci) ci=1 more=1 ;;
        *) echo "usage: $0 [--tests | --ci]" >&2; exit 2 ;;
    esac
done
manager=
for m in apt-get dnf; do
    if command -v $m >/dev/null; then manager=$m; break; fi
done

lacking=$(missing)
if [ -z "$lacking" ]; then
    echo 'deps: nothing to install'
    exit 0
fi
echo 'deps: missing (thing, package):'
echo "$lacking" | sed 's/^/  /'
if [ -z "$manager" ]; then
    echo 'deps: neither apt-get nor dnf is here; install these by hand' >&2
    exit 1
fi
packages=$(echo "$lacking" | awk '{ print $2 }' | sort -u | tr '\n' ' ')

as_root=
if [ "$(id -u)" -ne 0 ]; then
    as_root='sudo'
    command -v sudo >/dev/null || {
        echo "deps: run as root: $manager install $packages" >&2; exit 1; }
fi
run () {
    echo "deps: running: $*"
    "$@" </dev/null
}
case $manager in
    apt-get)
        run $as_root env DEBIAN_FRONTEND=noninteractive apt-get -q update ||
            echo 'deps: apt-get update failed; trying with the package lists there are' >&2
        # shellcheck disable=SC2086  # a list of packages
        run $as_root env DEBIAN_FRONTEND=noninteractive \
            apt-get -q -y --no-install-recommends install $packages
        ;;
    dnf)
        # shellcheck disable=SC2086
        run $as_root dnf -q -y --setopt=install_weak_deps=False install $packages
        ;;
esac

hash -r
lacking=$(missing)
if [ "$lacking" ]; then
    echo 'deps: still missing after installing:' >&2
    echo "$lacking" | sed 's/^/  /' >&2
    exit 1
fi
echo 'deps: complete'
