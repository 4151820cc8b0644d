#!/bin/bash
# Servers that break down, change files or lie: errors, or the right bytes, and never
# wrong ones.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/drive/fixture.sh"
. "$top_srcdir/tests/drive/hosts.sh"
need plugin mkimage nbdcopy

base 8M
sectors=$((8 << 11))
printf '# Disk DescriptorFile\nversion=1\nCID=01234567\nparentCID=ffffffff\ncreateType="vmfs"\nRW %s VMFS "base.raw"\n' $sectors > disk.vmdk
delta x cowd --parent=disk.vmdk --capacity=8M
cp base.raw expected.raw
overlay expected.raw x.raw
cp x.vmdk kept.vmdk
cp expected.raw kept.raw
right=0 errors=0

# hosted RESULT [PARAMETER...]: what becomes of a copy from the server started last; never
# another disk.
hosted () {
    local result=error want=$1
    shift
    rm -f out.raw
    if [ "$way" = plugin ]; then set -- "$@" remote=libcurl=false; fi
    if nbdkit "$PLUGIN" "$web/x.vmdk" "$@" --run 'nbdcopy "$uri" out.raw' > log 2>&1; then
        same expected.raw out.raw
        result=right
    fi
    [ "$want" = any ] || [ "$want" = $result ] || { cat log; fail "$result, not $want"; }
    if [ $result = right ]; then right=$((right + 1)); else errors=$((errors + 1)); fi
}
told () { grep -Eq "$1" log || { cat log; fail "not told: $1"; }; }

# By libcurl, if it is here, and by nbdkit's plugin.
for way in libcurl plugin; do
start_web "$T"
hosted right
start_web "$T" delay=10
hosted right
# Now and then a connection breaks: it is made again.
start_web "$T" drop=5
hosted right
[ "$way" = libcurl ] || [ "$(grep -c HEAD "$web_log")" -gt 7 ] || fail 'no connection was made again?'
# Always: it cannot be read.
start_web "$T" drop=1
hosted error
start_web "$T" short
hosted error
# A limit of requests.
start_web "$T" limit=4
hosted right
start_web "$T" limit=1
hosted right remote=connections=1
# It grows: an error once that is seen, by a new connection.
start_web "$T" grow drop=3
hosted error
told 'bytes now, and had .* when it was opened'
# Ranges are announced and ignored: at once, and after a while.
start_web "$T" lies
hosted error
[ "$way" = libcurl ] || told 'sent its beginning when it was asked for byte'
for n in 3 6 9 12 15; do
    start_web "$T" lies=$n
    hosted any remote=connections=1
done
# Of a file that begins with zeros alone it cannot be told ...
truncate -s 8M zero.raw
head -c 4096 /dev/urandom | dd of=zero.raw bs=4096 seek=1000 conv=notrunc status=none
printf '# Disk DescriptorFile\nversion=1\nCID=01234567\nparentCID=ffffffff\ncreateType="vmfs"\nRW %s VMFS "zero.raw"\n' $sectors > x.vmdk
cp zero.raw expected.raw
start_web "$T"
hosted right                    # ... but of its descriptor it can
start_web "$T" lies
hosted error

cp kept.vmdk x.vmdk
cp kept.raw expected.raw
done

# An NBD server whose export changes its size, or goes away.
printf '# Disk DescriptorFile\nversion=1\nCID=01234567\nparentCID=ffffffff\ncreateType="vmfs"\nRW %s VMFS "base.raw"\n' $sectors > x.vmdk
cp base.raw expected.raw
mkdir exports
cp x.vmdk base.raw exports
start file dir="$T/exports"
files=$uri files_sock=$sock
start "$PLUGIN" "nbd+unix:///x.vmdk?socket=$files_sock"
nbdcopy "$uri" out.raw
same expected.raw out.raw
echo "$right right, $errors errors"
[ $right -ge 6 ] || fail "only $right were read"
[ $errors -ge 4 ] || fail "only $errors were refused"
