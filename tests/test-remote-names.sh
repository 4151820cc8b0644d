#!/bin/bash
# Names found in an image on another host lead only to what is below its directory
# there, and never to this machine, or to a host that the user has not named.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/drive/hosts.sh"
need plugin tool nbdcopy

mkdir -p vm/a vm/b
descriptor () {  # NAME EXTENT [HINT]
    printf '# Disk DescriptorFile\nversion=1\nCID=%s\nparentCID=%s\ncreateType="vmfs"\nRW 8 %s\n%s' "$4" \
        "$([ "$3" ] && echo 11111111 || echo ffffffff)" "$2" "${3:+parentFileNameHint="$3"
}" > "$1"
}
head -c 4096 /dev/urandom > vm/a/base-flat.vmdk
cp vm/a/base-flat.vmdk "vm/a/b ä%41?-flat.vmdk"
head -c 4096 /dev/urandom > here-flat.vmdk
start_web "$T/vm"
read_it () { nbdkit "$PLUGIN" "$@" --run 'nbdcopy "$uri" out.raw'; }

descriptor vm/a/base.vmdk 'VMFS "base-flat.vmdk"' '' 11111111
q='?dcPath=a%2520b/c&dsName=d'
read_it "$web/folder/a/base.vmdk$q"
same out.raw vm/a/base-flat.vmdk
grep -qF "/folder/a/base-flat.vmdk$q" "$web_log" || fail 'the query was not kept as it is'

# Bytes that a URI has to encode.
descriptor vm/a/odd.vmdk 'VMFS "b ä%41?-flat.vmdk"' '' 22222222
read_it "$web/folder/a/odd.vmdk$q"
same out.raw vm/a/base-flat.vmdk

# Upwards, to this machine, and to another host.
refused () { expect_fail "$1" nbdkit "$PLUGIN" "$web/folder/a/x.vmdk" "${@:2}" --run true; }
cp here-flat.vmdk vm/b/up-flat.vmdk
descriptor vm/a/x.vmdk 'VMFS "../b/up-flat.vmdk"' '' 33333333
refused 'up-flat.vmdk.*leads outside'
read_it "$web/folder/a/x.vmdk" unconfined=true
same out.raw here-flat.vmdk
read_it "$web/folder/a/x.vmdk" parent-path="$web/folder/b"
same out.raw here-flat.vmdk
descriptor vm/a/x.vmdk "VMFS \"$T/here-flat.vmdk\"" '' 33333333
refused 'here-flat.vmdk'
refused 'here-flat.vmdk' unconfined=true
read_it "$web/folder/a/x.vmdk" parent-path="$T"
same out.raw here-flat.vmdk
lines=$(wc -l < "$web_log")
first=$web first_log=$web_log
start_web "$T/vm"
descriptor vm/a/x.vmdk "VMFS \"$web/folder/a/base-flat.vmdk\"" '' 33333333
for how in unconfined=false unconfined=true; do
    expect_fail . nbdkit "$PLUGIN" "$first/folder/a/x.vmdk" $how --run true
done
[ ! -s "$web_log" ] || { cat "$web_log"; fail 'an image made us connect to a host'; }
[ "$(wc -l < "$first_log")" -gt "$lines" ] || fail 'the first server was not asked?'

# A parent: beside the child, or in a directory of another host that the user names.
descriptor vm/a/x.vmdk 'VMFS "base-flat.vmdk"' base.vmdk 44444444
"$TOOL" info --chain "$web/folder/a/x.vmdk$q" > out
[ "$(grep -c '^[a-z]*\.vmdk.*ok' out)" = 2 ] || { cat out; fail 'the parent'; }
mkdir here
cp vm/a/x.vmdk vm/a/base-flat.vmdk here
"$TOOL" info --chain --parent-path="$web/folder/a$q" here/x.vmdk > out
[ "$(grep -c '^[a-z]*\.vmdk.*ok' out)" = 2 ] || { cat out; fail 'the parent elsewhere'; }
descriptor vm/a/x.vmdk 'VMFS "base-flat.vmdk"' x.vmdk 11111111
expect_fail 'cannot be its own' "$TOOL" map "$web/folder/a/../a/x.vmdk"

# An interrupted merge leaves its mark beside the image, there too.
descriptor vm/a/x.vmdk 'VMFS "base-flat.vmdk"' '' 33333333
read_it "$web/folder/a/x.vmdk"
echo > vm/a/.x.vmdk.vmdkdelta-merging
refused 'belongs to a merge'
rm vm/a/.x.vmdk.vmdkdelta-merging

# A delta without its descriptor: older ones beside it are not forgotten.
need filter mkimage
. "$top_srcdir/tests/drive/fixture.sh"
simple
for n in 1 2 3; do cp x-cowd.vmdk "vm/b/d-00000$n-delta.vmdk"; done
expect_fail 'older deltas of the same disk are beside it.*d-000001-delta.*d-000002-delta' \
    nbdkit_run file base.raw delta="$web/b/d-000003-delta.vmdk" --run true
nbdkit_run file base.raw delta="$web/b/d-000001-delta.vmdk" --run 'nbdcopy "$uri" out.raw'
same out.raw expected.raw

# compare and create read disks, and raw files, elsewhere.
head -c 1M /dev/urandom > vm/noise.raw
"$TOOL" compare "$web/noise.raw" vm/noise.raw > out
grep -q '^equal' out || fail 'a raw file elsewhere'
"$TOOL" compare "$web/folder/a/x.vmdk$q" vm/a/x.vmdk > out
grep -q '^equal' out || fail 'a disk elsewhere'
mkdir made
"$TOOL" create --from="$web/folder/a/x.vmdk$q" --to=base.raw made/made.vmdk > out
grep -q "nbdkit vmdk file=made/made.vmdk parent='http" out || fail 'how to use the delta'
nbdkit "$PLUGIN" made/made.vmdk parent="$web/folder/a/x.vmdk$q" --run 'nbdcopy "$uri" out.raw'
same base.raw out.raw
