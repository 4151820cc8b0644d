#!/bin/bash
# What is wrong with a host is told at start, in one line: which file, what is wrong, and
# what to do.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/drive/fixture.sh"
. "$top_srcdir/tests/drive/hosts.sh"
need tool plugin filter mkimage

simple
printf '# Disk DescriptorFile\nversion=1\nCID=01234567\nparentCID=ffffffff\ncreateType="vmfs"\nRW 8192 VMFS "base.raw"\n' > disk.vmdk
start_web "$T"
start_sshd
by="--remote=identity=$T/user --remote=known-hosts=$T/known"
# shellcheck disable=SC2086  # words
info () { expect_fail "$1" "$TOOL" info "${@:2}"; one_line; }
one_line () { [ "$(grep -c . output)" = 1 ] || { cat output; fail 'not one line'; }; }

"$TOOL" info $by "$ssh$T/x.vmdk" > out
grep -q 'COWD' out || fail 'it is not even read when all is right'
info 'ssh://.*/no.vmdk: there is no such file on that host' $by "$ssh$T/no.vmdk"
info 'neither a key nor a password of ours.*identity=FILE' --remote=identity="$T/host" --remote=known-hosts="$T/known" "$ssh$T/x.vmdk"
info 'key of that host is not known here.*known-hosts=FILE' --remote=identity="$T/user" --remote=known-hosts=/dev/null "$ssh$T/x.vmdk"
sed "s,\(.*\) .*,\1 $(cut -d ' ' -f 2 user.pub)," known > other
info 'has another key than.*ssh-keygen -R' --remote=identity="$T/user" --remote=known-hosts="$T/other" "$ssh$T/x.vmdk"
info 'ssh://.*: failed to connect to remote host' ssh://127.0.0.1:1/x
info 'http://.*: there is no such file on that host' "$web/no.vmdk"
info 'http://127.0.0.1:1/x: .*[Cc]ould.*connect' http://127.0.0.1:1/x
info 'nbd.*no-such-socket.*No such file' 'nbd+unix:///x?socket=/no-such-socket'

# Secrets come from files, and are in no message and no list of processes.
echo secret > pass
info 'can be seen by everybody.*password=\+FILE' http://me:geheim@127.0.0.1:1/x
! grep -q geheim output || fail 'a password in a message'
expect_fail 'password=\+FILE' "$TOOL" info --remote=password=geheim "$web/x.vmdk"
! grep -q geheim output || fail 'a password in a message'
expect_fail 'no parameter of a connection; those are .*identity' "$TOOL" info --remote=passwort=x "$web/x.vmdk"
expect_fail 'remote: identity=/no: No such file' "$TOOL" info --remote=identity=/no "$web/x.vmdk"
open=$web
start_web "$T" auth=me:secret
"$TOOL" info --remote=user=me --remote=password=+pass "$web/x.vmdk" > out
grep -q COWD out || fail 'user and password'
info 'another user or password.*password=\+FILE' "$web/x.vmdk"
info 'another user or password' --remote=user=me --remote=password=+x.vmdk "$web/x.vmdk"
start_web "$T" cookie=session=7
# shellcheck disable=SC2016
"$TOOL" info --remote=cookie-script='echo session=7' --remote=cookie-script-renew=60 "$web/x.vmdk" > out
start_web "$T" noranges
info 'does not say that it can send parts of a file' --remote=libcurl=false "$web/x.vmdk"
expect_fail 'does not (say that it can )?send (the )?parts? of a file' "$TOOL" map --no-parents "$web/x.vmdk"
one_line

web=$open

# Without a plugin, or without nbdkit, the package is named.
mkdir bin
printf '#!/bin/sh\necho "nbdkit: error: cannot open plugin '\''curl'\'': no such file" >&2; exit 1\n' > bin/nbdkit
chmod +x bin/nbdkit
expect_fail 'plugin curl, which reads this, is not installed: install the package nbdkit-curl-plugin' \
    env PATH="$T/bin:$PATH" "$TOOL" info --remote=libcurl=false "$web/x.vmdk"
mkdir empty
expect_fail 'nbdkit, which is not installed: install the package nbdkit' env PATH="$T/empty" "$TOOL" info --remote=libcurl=false "$web/x.vmdk"

# The modules say it at start too.
expect_fail 'error: http://.*/no.vmdk: there is no such file' nbdkit "$PLUGIN" "$web/no.vmdk" --run true
expect_fail 'error: http://.*/no.vmdk: there is no such file' nbdkit_run file base.raw delta="$web/no.vmdk" --run true
expect_fail "dir=.*cannot be listed" nbdkit "$PLUGIN" dir="$ssh$T" --run true
expect_fail 'disks are only read|not a local file' nbdkit "$PLUGIN" "$web/disk.vmdk" write=true --run true
expect_fail 'what is written is a local file' nbdkit "$PLUGIN" x.vmdk write-to=ssh://h/x.vmdk --run true
# Verbs that change disks want them here.
for verb in compact merge snapshot; do
    expect_fail "$verb needs local files" "$TOOL" $verb "$web/x.vmdk"
done
expect_fail 'what can be read elsewhere is named by ssh://.*ftp://h/x' "$TOOL" info ftp://h/x
# A local file can have such a name.
mkdir -p ssh:/h
cp x-cowd.vmdk ssh:/h/x.vmdk
"$TOOL" info ./ssh://h/x.vmdk > out
expect_fail 'ssh://h/x.vmdk: ' "$TOOL" info ssh://h/x.vmdk
