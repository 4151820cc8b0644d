# shellcheck shell=bash
# Stand-ins for hosts that hold disks, all on 127.0.0.1.  Sourced behind lib.sh.

# start_sshd [LINE...]: an ssh server with keys of its own, and these lines in its
# configuration.  Sets ssh (the URI of /), and files: known, user (a key), host.
start_sshd () {
    local sftp= f try port
    need sshd ssh-keygen nbdkit:plugin:ssh
    for f in /usr/lib/openssh/sftp-server /usr/libexec/openssh/sftp-server /usr/lib/ssh/sftp-server; do
        [ ! -x $f ] || sftp=$f
    done
    [ "$sftp" ] || skip 'there is no sftp-server'
    # As root, sshd wants its directory for the separation of privileges, which only a
    # service has made.
    if [ "$(id -u)" -eq 0 ] && [ ! -d /run/sshd ]; then
        mkdir -p /run/sshd
        on_exit 'rmdir /run/sshd 2>/dev/null'
    fi
    ssh-keygen -q -t ed25519 -N '' -f host
    ssh-keygen -q -t ed25519 -N '' -f user
    cp user.pub keys
    for try in 1 2 3 4 5; do
        port=$((20000 + RANDOM % 12000))
        ! _try_sshd $port "$sftp" "$@" || break
        [ $try -lt 5 ] || { cat sshd.log; skip 'sshd does not start here'; }
    done
    sftp_server=$sftp
    on_exit "kill $sshd"
    printf '[127.0.0.1]:%s %s\n' $port "$(cut -d ' ' -f 1,2 host.pub)" > known
    ssh=ssh://$(id -un)@127.0.0.1:$port
}

_try_sshd () {  # PORT SFTP LINE...
    local i
    cat > sshd.conf <<END
ListenAddress 127.0.0.1
Port $1
HostKey $T/host
AuthorizedKeysFile $T/keys
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin prohibit-password
MaxStartups 100
Subsystem sftp $2
END
    [ $# -eq 2 ] || printf '%s\n' "${@:3}" >> sshd.conf
    "$(type -P sshd)" -D -e -f sshd.conf 2> sshd.log &
    sshd=$!
    for ((i = 0; i < 2000; i++)); do
        ! grep -q 'Server listening' sshd.log || return 0
        kill -0 $sshd 2>/dev/null || return 1
        sleep 0.05
    done
    return 1
}

# start_slow PORT MS: a link to PORT with a round trip of MS milliseconds, see slow.py.  Sets slow
# (its port) and slow_log.
start_slow () {
    local name=$T/slow.$((slows += 1))
    need_python
    "$python" "$top_srcdir/tests/drive/slow.py" "$1" "$2" "$name" &
    on_exit "kill $!"
    await test -s "$name"
    slow=$(cat "$name") slow_log=$name.log
}
slows=0

# start_web DIR [MANNER...]: a web server, see web.py.  Sets web (its URL) and web_log.
start_web () {
    local name=$T/web.$((webs += 1))
    need nbdkit:plugin:curl
    need_python
    "$python" "$top_srcdir/tests/drive/web.py" "$1" "$name" "${@:2}" &
    web_pid=$!
    on_exit "kill $web_pid"
    await test -s "$name"
    web=http://127.0.0.1:$(cat "$name")
    web_log=$name.log
}
webs=0

# A Python that has what web.py needs: that of the system, or another.
need_python () {
    for python in /usr/bin/python3 python3; do
        ! "$python" -c 'import http.server' 2>/dev/null || return 0
    done
    skip 'there is no Python 3'
}
