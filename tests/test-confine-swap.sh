#!/bin/bash
# A name that is a file inside at one time and a link to the outside at another, swapped
# while servers start: what is served is never the outside.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/test-chain-disks.sh"
need perl

mkdir -p vm/d outside
letters S > outside/x.raw
base outside/p.vmdk 1 S
letters A > vm/in.raw
base vm/in.vmdk 1 A
letters A > vm/d/x.raw
mkdir vm/d2; cp vm/d/x.raw vm/d2
ln -s ../outside vm/out
printf '# Disk DescriptorFile\nCID=9\nparentCID=1\nparentFileNameHint="p.vmdk"\n' > vm/s.vmdk
printf 'RW 128 FLAT "x.raw"\nRW 128 FLAT "e/x.raw"\n' >> vm/s.vmdk
child vm/c.vmdk 8 1 "$(hint p.vmdk)"
ln vm/in.raw vm/x.raw
ln vm/in.vmdk vm/p.vmdk
ln -s d vm/e

# Renaming is atomic: at any time there is one or the other.
perl -e '
    chdir "vm";
    while (getppid () != 1) {
        symlink "../outside/x.raw", "t1"; rename "t1", "x.raw";
        symlink "../outside/p.vmdk", "t2"; rename "t2", "p.vmdk";
        symlink "../outside", "t3"; rename "t3", "e";
        link "in.raw", "t1"; rename "t1", "x.raw";
        link "in.vmdk", "t2"; rename "t2", "p.vmdk";
        symlink "d", "t3"; rename "t3", "e";
        unlink "t1", "t2", "t3";
    }' &
swapper=$!
on_exit "kill $swapper; wait $swapper"

served=0 refused=0
# As often as it takes to see both.
for ((i = 0; i < 25 || (i < 1000 && (served == 0 || refused == 0)); i++)); do
    for f in s c; do
        rm -f out
        if nbdkit "$PLUGIN" vm/$f.vmdk --run "nbdcopy \"\$uri\" '$T/out'" 2> log; then
            if grep -q "$(printf '\023')" out; then fail "the outside is served"; fi
            served=$((served + 1))
        else
            grep -q 'error: ' log || fail "no message"
            refused=$((refused + 1))
        fi
    done
done
echo "$served served, $refused refused"
[ $served -gt 0 ] || fail 'it was never served, so nothing was tried'
[ $refused -gt 0 ] || fail 'it was never refused: were the names swapped?'
