#!/bin/bash
# VirtualBox as the judge of what we make of its machines (make vbox-test).
#
# Debian has VirtualBox in sid, in its section contrib.  A new root file system of sid gets
# its files and the libraries that they need, no module of the kernel and no service; we
# are built in there, and tests/long-virtualbox*.sh are run.
# What is needed for making roots: see scripts/root.sh.
set -uo pipefail
. "$(dirname "$0")/root.sh"
root_begin "$0" "$@"

root_new vbox sid
sed -i 's/ main$/ main contrib/' "$work/vbox/etc/apt/sources.list"
root_in vbox apt-get -q update > "$work/apt.log" 2>&1 || { tail "$work/apt.log" >&2; die 'apt-get update failed'; }
root_source vbox
root_in vbox apt-get -q -y --no-install-recommends build-dep /src > "$work/apt.log" 2>&1 ||
    { tail -n 20 "$work/apt.log" >&2; die 'what we are built with cannot be installed'; }
root_in vbox /src/scripts/deps.sh --tests || die 'what the tests need cannot be installed'
# shellcheck disable=SC2046
root_apt vbox procps $(root_in vbox apt-cache depends virtualbox | sed -n 's/^ *Depends: \(lib[^ ]*\)$/\1/p')
root_in vbox sh -c 'cd /tmp && apt-get -q download virtualbox && dpkg -x virtualbox_*.deb /' > "$work/apt.log" 2>&1 ||
    { tail "$work/apt.log" >&2; die 'no package virtualbox'; }
root_in vbox make -C /src -j"$(nproc)" all tests > "$work/make.log" 2>&1 || { tail -n 20 "$work/make.log" >&2; die 'make failed'; }
root_in vbox env CI=true make -C /src check-long TESTS='long-virtualbox long-virtualbox-compare'
status=$?
tail -n 1 "$work"/vbox/src/build/plain/test-logs/long-virtualbox*.log
exit $status
