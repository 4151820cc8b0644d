# shellcheck shell=bash
# Functions for the shell tests.  A test begins with:
#
#   #!/bin/bash
#   . "${top_srcdir:?run it with make check}/tests/lib.sh"
#
# It runs under set -euo pipefail in $T, an empty directory that is removed at the end.
# Its environment (FILTER, MKIMAGE, ...) is described in tests/run.

set -euo pipefail
shopt -s inherit_errexit
: "${top_srcdir:?run tests with \"make check\"}"

fail () { printf 'FAIL: %s\n' "$*" >&2; exit 1; }
skip () { printf '%s\n' "$*"; exit 77; }

# ---- The temporary directory, and what happens at the end -------------------

T=$(mktemp -d "${TMPDIR:-/tmp}/t.XXXXXX")
at_exit=()
servers=()
launched=0

# on_exit COMMAND: run it when the test ends, in whatever way; last one first.
on_exit () { at_exit+=("$*"); }

_cleanup () {
    local status=$? i
    trap - EXIT
    set +e
    for ((i = ${#at_exit[@]} - 1; i >= 0; i--)); do eval "${at_exit[i]}"; done
    while [ ${#servers[@]} -gt 0 ]; do
        _end || { echo "FAIL: nbdkit ended with status $?" >&2
                  [ $status -ne 0 ] || status=1; }
    done
    cd /
    rm -rf "$T"
    exit $status
}
trap _cleanup EXIT
trap 'exit 143' TERM INT HUP
trap 'echo "FAIL: line $LINENO: $BASH_COMMAND" >&2' ERR
cd "$T"

# ---- What the test needs ----------------------------------------------------

# need WHAT...: skip the test if one of these is missing.  WHAT is a command, or
# filter, plugin, tool, mkimage (ours), nbdkit:plugin:NAME, nbdkit:filter:NAME.
need () {
    local what
    for what; do
        case $what in
            filter)  [ "${FILTER:-}" ] || skip "the filter is not built" ;;
            plugin)  [ "${PLUGIN:-}" ] || skip "the plugin is not built" ;;
            tool)    [ "${TOOL:-}" ] || skip "the command vmdkdelta is not built" ;;
            mkimage) [ "${MKIMAGE:-}" ] || skip "mkimage is not built" ;;
            nbdkit:plugin:*) command nbdkit "${what##*:}" --version >/dev/null 2>&1 ||
                skip "nbdkit has no plugin ${what##*:}" ;;
            nbdkit:filter:*) command nbdkit --filter="${what##*:}" null --version >/dev/null 2>&1 ||
                skip "nbdkit has no filter ${what##*:}" ;;
            *) command -v "$what" >/dev/null || skip "$what is not installed" ;;
        esac
    done
}
PATH=$PATH:/usr/sbin:/sbin  # mke2fs and debugfs

# ---- nbdkit -----------------------------------------------------------------
#
# uri, sock and server_pid describe the server started last.

# _launch ARGS...: start nbdkit and wait until it listens.  If it does not come
# up, return its status.
_launch () {
    local name=$T/n$BASHPID.$((launched += 1)) i status
    sock=$name.sock
    uri="nbd+unix://?socket=$sock"
    # A subshell that had the same pid, long ago, may have left these.
    rm -f "$sock" "$name.pid"
    # exec: the pid that we wait for must be that of nbdkit.
    (exec env ${NBDKIT_PRELOAD:+LD_PRELOAD=$NBDKIT_PRELOAD} \
        nbdkit -f --exit-with-parent -U "$sock" -P "$name.pid" "$@") &
    server_pid=$!
    for ((i = 0; i < 6000; i++)); do
        if [ -s "$name.pid" ]; then servers+=("$server_pid"); return 0; fi
        if ! kill -0 "$server_pid" 2>/dev/null; then
            status=0; wait "$server_pid" || status=$?
            [ $status -ne 0 ] || status=1
            return $status
        fi
        sleep 0.05
    done
    echo "nbdkit has not listened for minutes: nbdkit $*" >&2
    kill -KILL "$server_pid"
    return 137
}

# _end: stop the server started last and return its status.
_end () {
    local last=$((${#servers[@]} - 1))
    local pid=${servers[last]} status=0 i tasks
    unset "servers[last]"
    # nbdkit does not close a connection that is still open when it is told to
    # stop, so wait for the threads that serve them.
    for ((i = 0; i < 200; i++)); do
        tasks=(/proc/"$pid"/task/*)
        [ ${#tasks[@]} -gt 1 ] || break
        sleep 0.01
    done
    kill "$pid" 2>/dev/null || :
    wait "$pid" || status=$?
    return $status
}

# start ARGS...: run nbdkit in the background until the test ends or calls stop.
# It must end with status 0: a crash or a leak fails the test.
start () { _launch "$@" || fail "status $? instead of starting: nbdkit $*"; }
stop () { _end || fail "nbdkit ended with status $?"; }

# serve ARGS...: the same, with our filter.
serve () { start --filter="$FILTER" "$@"; }

# nbdkit ARGS...: with --run, run the command with $uri (and $nbd, $unixsocket)
# set, as nbdkit does.  Unlike nbdkit, wait for the server and look at its
# status, which is returned if the command succeeded or the server crashed; and
# keep the preload that a sanitized module needs out of the command.
nbdkit () {
    local args=() run= ran=0 ended=0
    while [ $# -gt 0 ]; do
        case $1 in
            --run) run=$2; shift ;;
            --run=*) run=${1#--run=} ;;
            -U|--unix) shift ;;  # the socket is always a private one
            *) args+=("$1") ;;
        esac
        shift
    done
    if [ -z "$run" ]; then
        env ${NBDKIT_PRELOAD:+LD_PRELOAD=$NBDKIT_PRELOAD} nbdkit "${args[@]}" || return
        return 0
    fi
    _launch "${args[@]}" || return
    uri=$uri nbd=$uri unixsocket=$sock sh -c "$run" || ran=$?
    _end || ended=$?
    [ $ended -eq 0 ] || echo "nbdkit ended with status $ended" >&2
    if [ $ran -eq 0 ] || [ $ended -gt 125 ]; then return $ended; fi
    return $ran
}

# nbdkit_run ARGS... --run COMMAND: the same, with our filter.
nbdkit_run () { nbdkit --filter="$FILTER" "$@"; }

# ---- Checks -----------------------------------------------------------------

# expect_fail REGEX COMMAND...: the command must fail in an orderly way, with
# status 1 to 125 (no signal, no sanitizer, not "command not found"), and its
# output must match the extended regular expression.  The output is in $T/output.
expect_fail () {
    local regex=$1 status=0
    shift
    "$@" >"$T/output" 2>&1 || status=$?
    if [ $status -eq 0 ] || [ $status -gt 125 ]; then
        cat "$T/output" >&2
        fail "expected a status from 1 to 125, got $status: $*"
    fi
    if ! grep -Eq -e "$regex" "$T/output"; then
        cat "$T/output" >&2
        fail "the output above does not match: $regex"
    fi
}

# await COMMAND...: until it succeeds.  On a busy machine anything can take long, so it
# gives up only after minutes.
await () {
    local i
    for ((i = 0; i < 6000; i++)); do
        if "$@" > /dev/null 2>&1; then return 0; fi
        sleep 0.03
    done
    fail "this has not come about for minutes: $*"
}

# differ FILE1 FILE2: for "await".
differ () { ! cmp -s "$1" "$2"; }

# fresh FILE TARGET: copy it, and forget what "apply" has noted of the target.
fresh () { cp --sparse=always "$1" "$2"; rm -f "$2.vmdkdelta-state"; }

# settled FILE...: write them out.  Until then the file system may still change its mind on
# how many blocks they take.
settled () { sync -- "$@"; }

# same FILE1 FILE2: their content must be equal.
same () { cmp "$1" "$2" || fail "$1 and $2 differ"; }

# have_terminal: can "script" give a command a terminal here?
have_terminal () { script -qec true /dev/null < /dev/null > /dev/null 2>&1; }

# sha256 FILE: print its checksum, and nothing else.
sha256 () { sha256sum < "$1" | cut -d ' ' -f 1; }
