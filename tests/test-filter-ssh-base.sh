#!/bin/bash
# The base may be on a host with an ssh server: one on 127.0.0.1, with keys of its own.
. "$top_srcdir/tests/lib.sh"
. "$top_srcdir/tests/drive/fixture.sh"
need filter mkimage nbdcopy nbdkit:plugin:ssh sshd ssh-keygen

sftp=
for f in /usr/lib/openssh/sftp-server /usr/libexec/openssh/sftp-server /usr/lib/ssh/sftp-server; do
    [ ! -x $f ] || sftp=$f
done
[ "$sftp" ] || skip 'there is no sftp-server'
# As root, sshd wants its directory for the separation of privileges, which only a
# service has made.
if [ "$(id -u)" -eq 0 ] && [ ! -d /run/sshd ]; then
    mkdir /run/sshd
    on_exit 'rmdir /run/sshd 2>/dev/null'
fi

simple
ssh-keygen -q -t ed25519 -N '' -f host
ssh-keygen -q -t ed25519 -N '' -f user
cp user.pub keys
start_sshd () {  # PORT
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
Subsystem sftp $sftp
END
    "$(type -P sshd)" -D -e -f sshd.conf 2> sshd.log &
    sshd=$!
    for ((i = 0; i < 2000; i++)); do
        ! grep -q 'Server listening' sshd.log || return 0
        kill -0 $sshd 2>/dev/null || return 1
        sleep 0.05
    done
    return 1
}
for try in 1 2 3 4 5; do
    port=$((20000 + RANDOM % 12000))
    ! start_sshd $port || break
    [ $try -lt 5 ] || { cat sshd.log; skip 'sshd does not start here'; }
done
on_exit "kill $sshd"

printf '[127.0.0.1]:%s %s\n' $port "$(cut -d ' ' -f 1,2 host.pub)" > known
serve ssh host=127.0.0.1 port=$port user="$(id -un)" identity="$T/user" known-hosts="$T/known" \
    "$T/base.raw" delta=x.vmdk || { cat sshd.log; fail 'nbdkit ssh'; }
nbdcopy "$uri" out.raw || { cat sshd.log; fail 'reading'; }
same expected.raw out.raw
stop
# A host with another key is not trusted.
printf '[127.0.0.1]:%s %s\n' $port "$(cut -d ' ' -f 1,2 user.pub)" > known
serve ssh host=127.0.0.1 port=$port user="$(id -un)" identity="$T/user" known-hosts="$T/known" \
    "$T/base.raw" delta=x.vmdk
expect_fail . nbdcopy "$uri" other.raw
