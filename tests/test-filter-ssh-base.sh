#!/bin/bash
# The base may be on a host with an ssh server: one on 127.0.0.1, with keys of its own.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/drive/fixture.sh"
. "$top_srcdir/tests/drive/hosts.sh"
need filter mkimage nbdcopy

simple
start_sshd
port=${ssh##*:}
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
