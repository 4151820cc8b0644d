#!/bin/bash
# Web servers with the manners of VMware's hosts: ranges that are not announced, HEAD refused, limits of
# requests, cookies that expire, files that change.  All of them are read, or told.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/drive/fixture.sh"
. "$top_srcdir/tests/drive/hosts.sh"
need tool plugin mkimage nbdcopy

mkdir d
cd d
base 8M
printf '# Disk DescriptorFile\nversion=1\nCID=01234567\nparentCID=ffffffff\ncreateType="vmfs"\nRW %s VMFS "base.raw"\n' $((8 << 11)) > disk.vmdk
delta x cowd --parent=disk.vmdk --capacity=8M
cp base.raw ../expected.raw
overlay ../expected.raw x.raw
cd ..
start_web "$T/d"
"$TOOL" info "$web/x.vmdk" > out
! grep -q HEAD "$web_log" || skip 'built without libcurl'
reads () { nbdkit "$PLUGIN" "$web/x.vmdk" "$@" --run 'nbdcopy "$uri" out.raw'; same expected.raw out.raw; }

for manner in noannounce nohead busy=3 limit=2 drop=7 etag; do
    start_web "$T/d" $manner delay=2
    reads
    ! grep -q HEAD "$web_log" || fail "HEAD: $manner"
done
start_web "$T/d" nohead
expect_fail . "$TOOL" info --remote=libcurl=false "$web/x.vmdk"

# More than the limit, for ever.
start_web "$T/d" limit=0
expect_fail 'busy, or limits the number of requests: try again, with connections=1' "$TOOL" info "$web/x.vmdk"
[ "$(grep -c . output)" = 1 ] || fail 'not one line'

# What is small comes as a whole, also without ranges; what is not cannot be read.
start_web "$T/d" noranges
"$TOOL" info "$web/disk.vmdk" > out 2>&1 || :
grep -q 'CID  *01234567' out || fail 'the descriptor is not read'
grep -q 'does not send the part of a file' out || { cat out; fail 'what cannot be done'; }
start_web "$T/d" lies=5
expect_fail 'does not send the part of a file' nbdkit "$PLUGIN" "$web/x.vmdk" --run 'nbdcopy "$uri" out.raw'

# A cookie that expires is asked for again; one that does not help is told.
start_web "$T/d" cookie-uses=3
cookie=(remote=cookie-script="cat $T/web.$webs.cookie" remote=connections=1)
reads "${cookie[@]}"
n=$(sed 's/.*=//' "web.$webs.cookie")
[ "$n" -ge 3 ] || fail "only $n cookies were used up"
expect_fail 'another user or password.*cookie-script' "$TOOL" info --remote=cookie-script='echo session=x' "$web/x.vmdk"
! grep -q session= output || fail 'a secret in a message'
expect_fail 'cookie-script has failed' "$TOOL" info --remote=cookie-script='exit 7' "$web/x.vmdk"
expect_fail 'cookie-script has printed nothing' "$TOOL" info --remote=cookie-script=true "$web/x.vmdk"
expect_fail 'libcurl=maybe: allowed are true and false' "$TOOL" info --remote=libcurl=maybe "$web/x.vmdk"

# A file that is changed while it is served: another ETag or time, and the same size.
start_web "$T/d" etag
start "$PLUGIN" "$web/x.vmdk" 2> log
read_range 0 512 > out
touch -d 2001-01-01 d/base.raw
status=0
nbdcopy "$uri" out.raw 2> copy || status=$?
stop
[ $status -ne 0 ] || fail 'it was not noticed'
grep -q 'base.raw was changed on that host after it was opened (ETag:' log || { cat log; fail 'not told'; }

# Files of 0, 1, and of about as many bytes as are asked for first.
for n in 0 1 131071 131072 131073 262145; do
    head -c $n /dev/urandom > d/odd
    "$TOOL" compare "$web/odd" d/odd > out 2>&1 || { cat out; fail "$n bytes"; }
    grep -q '^equal' out || fail "$n bytes"
done
