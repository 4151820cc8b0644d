#!/bin/bash
# vmdkdelta create: its files, its answers, what it refuses.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need filter tool nbdcopy nbdkit:plugin:file

create () { "$TOOL" create "$@"; }
head -c 3M /dev/urandom > base.img
cp base.img new.img
head -c 100K /dev/urandom | dd of=new.img bs=1K seek=500 conv=notrunc status=none
dd if=/dev/zero of=new.img bs=64K seek=40 count=2 conv=notrunc status=none

# ---- The answer -------------------------------------------------------------
create --from base.img --to new.img d.vmdk > out 2> err
[ ! -s err ] || { cat err; fail "something on stderr"; }
grep -Eq '^d.vmdk: [23] grains of 64 KiB differ, 2 more are now zeros; .* compared 3 MiB$' out ||
    { cat out; fail "the first line"; }
# The second line works as it stands.
next=$(sed -n 's/^next: nbdkit -r --filter=vmdkdelta //p' out)
[ "$next" = 'file file=base.img delta=d.vmdk' ] || fail "next: $next"
nbdkit_run $next --run 'nbdcopy "$uri" have.img'
same have.img new.img
grep -aq '^parentFileNameHint="base.vmdk"' d.vmdk
grep -aq '^parentCID=fffffffe' d.vmdk
[ "$(ls *.vmdk*)" = d.vmdk ] || { ls; fail "other files"; }

create --from=base.img --to=new.img --json --parent-hint=p.vmdk --parent-cid=AB12 j.vmdk > out
for want in '"filename": "j.vmdk"' '"format": "sparse"' '"virtual-size": 3145728' \
    '"zero-grains": 2' '"parent-cid": 43794' '"parent-hint": "p.vmdk"' '"base-descriptor": null'; do
    grep -Fq -e "$want" out || { cat out; fail "not in the JSON: $want"; }
done
grep -aq '^parentCID=0000ab12' j.vmdk
[ -z "$(create --from base.img --to new.img --quiet q.vmdk 2>&1)" ] || fail "not quiet"

# ---- Equal disks: an empty delta ---------------------------------------------
cp base.img same.img
for f in cowd sparse stream; do
    create --from base.img --to same.img --format=$f e.vmdk --json --force > out
    grep -q '"data-grains": 0' out
    grep -q '"zero-grains": 0' out
    nbdkit_run file base.img delta=e.vmdk --run 'nbdcopy "$uri" have.img'
    same have.img base.img
done
rm e*.vmdk

# ---- Existing files -----------------------------------------------------------
expect_fail 'd.vmdk exists already' create --from base.img --to new.img d.vmdk
create --from base.img --to new.img --force d.vmdk > /dev/null
create --from base.img --to new.img --format=cowd c.vmdk > /dev/null
[ -s c.vmdk ]
[ -s c-delta.vmdk ]
rm c.vmdk
expect_fail 'c-delta.vmdk exists already' create --from base.img --to new.img --format=cowd c.vmdk
[ ! -e c.vmdk ]
# Not what is being read.
cp base.img x-delta.vmdk
expect_fail 'x-delta.vmdk is one of the files that are compared' \
    create --force --format=cowd --from x-delta.vmdk --to new.img x.vmdk
expect_fail 'new.img is one of the files that are compared' \
    create --force --from base.img --to new.img new.img
same x-delta.vmdk base.img

# ---- The descriptor of the base -------------------------------------------------
mkdir sub
create --from base.img --to new.img --base-descriptor=b.vmdk sub/d.vmdk > /dev/null
cid=$(sed -n 's/^CID=//p' b.vmdk)
grep -aq "^parentCID=$cid" sub/d.vmdk
grep -aq "^parentFileNameHint=\"$(pwd -P)/b.vmdk\"" sub/d.vmdk
grep -q '^RW 6144 FLAT "base.img" 0$' b.vmdk
sum=$(sha256 b.vmdk)
create --from base.img --to new.img --base-descriptor=b.vmdk d2.vmdk > /dev/null
[ "$(sha256 b.vmdk)" = "$sum" ] || fail "an existing descriptor was changed"
grep -aq '^parentFileNameHint="b.vmdk"' d2.vmdk
expect_fail 'b.vmdk exists, and does not describe same.img' \
    create --from same.img --to new.img --base-descriptor=b.vmdk d3.vmdk
# It is not left behind when the delta cannot be made.
expect_fail 'd2.vmdk exists' create --from base.img --to new.img --base-descriptor=b2.vmdk d2.vmdk
[ ! -e b2.vmdk ]

# ---- VMDKs as they are: the chain is read ------------------------------------------
head -c 1M /dev/urandom | dd of=new.img bs=64K seek=3 conv=notrunc status=none
create --from d2.vmdk --to new.img d4.vmdk > out
grep -q '^next: nbdkit vmdk file=d4.vmdk$' out
# Its parent was moved.
mkdir away
cp d2.vmdk away
expect_fail "parent 'b.vmdk' .* not found.*name its directory with --parent-path" \
    create --from away/d2.vmdk --to new.img d5.vmdk
create --from away/d2.vmdk --to new.img --parent-path=. moved.vmdk > /dev/null
nbdkit_run file base.img delta=d2.vmdk delta=moved.vmdk --run 'nbdcopy "$uri" have.img'
same have.img new.img
grep -aq '^parentFileNameHint="d2.vmdk"' d4.vmdk
grep -aq "^parentCID=$(grep -a -m 1 '^CID=' d2.vmdk | cut -d = -f 2)" d4.vmdk
nbdkit_run file base.img delta=d2.vmdk delta=d4.vmdk --run 'nbdcopy "$uri" have.img'
same have.img new.img
create --from base.img --to d4.vmdk d5.vmdk > /dev/null
nbdkit_run file base.img delta=d5.vmdk --run 'nbdcopy "$uri" have.img'
same have.img new.img
expect_fail 'c-delta.vmdk is the data of a disk' create --from c-delta.vmdk --to new.img d6.vmdk
# Its first sector does not make a raw disk a VMDK: only the user knows what it is.
cp d2.vmdk raw.img
expect_fail 'raw.img is a sparse image \(KDMV\).*--base-format=raw' create --from base.img --to raw.img d7.vmdk
expect_fail 'raw.img is a sparse image' create --from raw.img --to base.img d7.vmdk
qemu-img convert -f raw -O qcow2 new.img new.qcow2
expect_fail 'new.qcow2 is a qcow image' create --from base.img --to new.qcow2 d7.vmdk
[ ! -e d7.vmdk ]
create --base-format=raw --from base.img --to raw.img d7.vmdk > /dev/null 2>&1
nbdkit_run file base.img delta=d7.vmdk --run 'nbdcopy "$uri" have.img'
same have.img raw.img

# ---- Sizes -------------------------------------------------------------------------
head -c 1000 new.img > odd.img
create --from base.img --to odd.img odd.vmdk 2> err > /dev/null
grep -q 'not whole sectors: the delta has 1024' err
grep -q 'the disk is smaller' err
create --from odd.img --to new.img long.vmdk 2> err > out
grep -q 'what the first lacks counts as zeros' err
grep -q 'delta-allow-short-base=true$' out

# ---- What is refused ----------------------------------------------------------------
: > empty
truncate -s 2T big
expect_fail 'is empty' create --from base.img --to empty n.vmdk
expect_fail 'are the same file' create --from base.img --to base.img n.vmdk
expect_fail '32-bit' create --from base.img --to big --format=cowd n.vmdk
expect_fail 'none/n.vmdk.*cannot create' create --from base.img --to new.img none/n.vmdk
expect_fail 'cannot open' create --from base.img --to none n.vmdk
expect_fail 'is 6K|6144' create --from base.img --to new.img --grain=6K n.vmdk
expect_fail 'quotation mark' create --from base.img --to new.img --parent-hint='a"b' n.vmdk
printf 'QFI\373' > q.img
expect_fail 'qcow' create --from base.img --to q.img n.vmdk
for wrong in "--from base.img n.vmdk" "--to new.img n.vmdk" "--from base.img --to new.img" \
    "--from base.img --to new.img a b" "--from base.img --to new.img --grain=x n.vmdk" \
    "--from base.img --to new.img --format=raw n.vmdk" \
    "--from base.img --to new.img --threads=0 n.vmdk" \
    "--from base.img --to new.img --parent-cid=ffffffff n.vmdk" \
    "--from base.img --to new.img --parent-cid=12 --base-descriptor=b.vmdk n.vmdk"; do
    status=0
    create $wrong > /dev/null 2>&1 || status=$?
    [ $status -eq 2 ] || fail "status $status: create $wrong"
done
[ ! -e n.vmdk ]
! ls | grep part$ || fail "temporary files are left"
