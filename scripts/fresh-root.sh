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
# names the mirror (scripts/root.sh).  The root is removed at the end, unless
# KEEP=1.
set -euo pipefail
. "$(dirname "$0")/root.sh"
root_begin "$0" "$@"

suite=$host_suite
case ${1:-} in
    '') ;;
    *) if ! grep -q "^$1:" "$top/Makefile"; then suite=$1; shift; fi ;;
esac
[ $# -gt 0 ] || set -- deps check demo

root_new root "$suite"
echo '== in it: make and git, nothing else'
root_apt root make git
root_source root

echo "== make $*"
SECONDS=0
status=0
root_in root make -C /src -j"$(nproc)" "$@" || status=$?
echo "== $suite: make $* ended with status $status after $SECONDS s"
exit $status
