#!/bin/bash
# The deltas belong to one export: other names are refused, the server goes on.  It is the
# first that fits, or the one that delta-export names; "" is a name like any other.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/drive/fixture.sh"
need filter mkimage nbdcopy nbdinfo

simple
mkdir dir
cp base.raw dir/one
cp base.raw dir/two
serve file dir=dir delta=x.vmdk 2>log
name () { echo "nbd+unix:///$1?socket=$sock"; }
# A client that asks for what is not there does not decide which one it is.
expect_fail . nbdinfo --size "$(name none)"
nbdcopy "$(name one)" out.raw
same expected.raw out.raw
expect_fail . nbdinfo --size "$(name two)"
grep -q "export 'two' is refused" log || fail "the log: $(cat log)"
expect_fail . nbdinfo --size "$(name '%1b%5B31mred')"
grep -qF "export '\x1b[31mred' is refused" log || fail "a client's name is not escaped: $(cat -v log)"
expect_fail . nbdinfo --size "$(name three)"
expect_fail . nbdinfo --size "$(name '')"
nbdcopy "$(name one)" out.raw
same expected.raw out.raw
stop

# What is refused decides neither the name nor the size: too small, an image, broken.
head -c 1M base.raw > dir/small
printf 'QFI\373\0\0\0\3' | cat - base.raw | head -c 4M > dir/image
serve file dir=dir delta=x.vmdk 2>log
for other in small image; do expect_fail . nbdinfo --size "$(name $other)"; done
grep -q 'has 1048576 bytes' log
grep -q 'is a qcow image' log
nbdcopy "$(name two)" out.raw
same expected.raw out.raw
expect_fail . nbdinfo --size "$(name one)"
stop

# Another export of the same size, by a client that names none.
cat > by-name.sh <<'SH'
case $1 in
    open) echo "$3" ;;
    get_size) echo 4194304 ;;
    pread) [ "$2" = one ] && f=base.raw || f=expected.raw
           dd if="$PWD/$f" iflag=skip_bytes,count_bytes skip="$4" count="$3" bs=64k status=none ;;
    default_export) [ ! -e "$PWD/default" ] || cat "$PWD/default" ;;
    list_exports) printf 'NAMES\none\ntwo\n' ;;
    thread_model) echo parallel ;;
    *) exit 2 ;;
esac
SH
sed -i "s,\$PWD,$T,g" by-name.sh
chmod +x by-name.sh
by_name () { serve sh ./by-name.sh delta=x.vmdk "$@" 2> log; }
gets () { nbdcopy "$(name "$1")" out.raw; same expected.raw out.raw; }
by_name
gets one
expect_fail . nbdinfo --size "$(name '')"
grep -q "export '' is refused: .*'one' was opened first (delta-export=NAME decides)" log || fail "$(cat log)"
gets one
stop
# If the base says which one it means by "", that is the same export.
printf one > default
by_name
gets ''
gets one
expect_fail . nbdinfo --size "$(name two)"
stop
by_name
gets one
gets ''
stop
rm default

# The user decides.
by_name delta-export=one
expect_fail . nbdinfo --size "$(name two)"
grep -q "export 'two' is refused: .*'one' is the one that delta-export names" log || fail "$(cat log)"
gets ''
gets one
[ "$(nbdinfo --list --json "$(name '')" | grep -c '"export-name"')" = 1 ] || fail 'others are listed'
stop
by_name delta-export=
nbdinfo --size "$(name '')" > /dev/null
expect_fail . nbdinfo --size "$(name one)"
stop
