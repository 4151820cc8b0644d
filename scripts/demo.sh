#!/bin/bash
# The main job on a real file system, before your eyes (make demo).
#
# A disk image with an ext4 file system, a changed copy of it, and the difference
# as a VMDK delta written by QEMU.  nbdkit serves base and delta as one disk
# through our filter; what a client reads must be the changed copy, to the byte.
#
# Needs no root.  KEEP=1 keeps the files.  Ends with "demo: success" or fails.
set -euo pipefail

top=${top_srcdir:-$(cd "$(dirname "$0")/.." && pwd)}
filter=${FILTER:-./filter/nbdkit-vmdkdelta-filter.so}
PATH=$PATH:/usr/sbin:/sbin  # mke2fs and debugfs
export LC_ALL=C

bold= green= red= plain=
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
    bold=$'\e[1m' green=$'\e[32m' red=$'\e[31m' plain=$'\e[0m'
fi
step=0
say ()  { step=$((step + 1)); printf '\n%s%d. %s%s\n' "$bold" $step "$*" "$plain"; }
note () { printf '   %s\n' "$*"; }
show () { sed 's/^/   | /'; }
die ()  { printf '\n%sdemo: FAILED: %s%s\n' "$red" "$*" "$plain" >&2; exit 1; }
now ()  { date +%s%N; }
took () { awk "BEGIN { printf \"%.2f s\", ($(now) - $1) / 1e9 }"; }
human () { numfmt --to=iec-i --suffix=B "$1"; }
sum ()  { sha256sum < "$1" | cut -d ' ' -f 1; }

# Names and sizes of the files in an ext4 image, without mounting it.
list () {  # IMAGE
    local dir
    for dir in / /docs /src; do
        debugfs -R "ls -p $dir" "$1" 2>/dev/null |
            awk -F/ -v d="${dir%/}" '$6 != "." && $6 != ".." && $3 ~ /^10/ { printf "%9d  %s/%s\n", $7, d, $6 }'
    done
}

[ -e "$top/${filter#./}" ] || [ -e "$filter" ] || die "$filter is not there; run make"
filter=$(cd "$top" && realpath "$filter")
for c in nbdkit nbdcopy nbdinfo qemu-img qemu-io mke2fs debugfs e2fsck; do
    command -v $c >/dev/null || die "$c is missing; \"make deps\" installs it"
done
work=$(mktemp -d "${TMPDIR:-/tmp}/vmdkdelta-demo.XXXXXX")
if [ "${KEEP:-}" ]; then trap 'echo "The files are in $work"' EXIT
else trap 'rm -rf "$work"' EXIT; fi
trap 'die "line $LINENO: $BASH_COMMAND"' ERR
trap 'exit 130' INT TERM
cd "$work"
begin=$(now)

# ---------------------------------------------------------------------------
say 'Make a base: a 64 MiB disk image with an ext4 file system on it'
mkdir -p tree/docs tree/src
cp "$top"/LICENSE "$top"/*.md tree/docs/
cp "$top"/lib/*.h "$top"/lib/*/*.[ch] tree/src/
seq 1 200000 > tree/numbers.txt
head -c 8M /dev/urandom > tree/photo.raw
t=$(now)
truncate -s 64M base.img
mke2fs -q -F -t ext4 -L demo -d tree base.img
note "base.img, $(stat -c %s base.img) bytes, made in $(took "$t")"
list base.img > before.txt

# ---------------------------------------------------------------------------
say 'Make a changed copy: one file edited, one new, one deleted, as a guest would'
cp --sparse=always base.img changed.img
sed 's/7/seven/g' tree/numbers.txt > numbers.txt
{ echo 'This file exists only in the delta.'; head -c 1M /dev/urandom | base64; } > report.txt
debugfs -w -f /dev/stdin changed.img >/dev/null 2>&1 <<'END'
rm /numbers.txt
write numbers.txt numbers.txt
write report.txt report.txt
rm /docs/LICENSE
END
list changed.img > after.txt
note 'files that differ (size and name; - before, + after):'
diff -U0 before.txt after.txt | grep '^[-+] ' | show || :
cmp -s base.img changed.img && die 'the changed copy is equal to the base'

# ---------------------------------------------------------------------------
say 'Write the difference as a VMDK delta, with QEMU: an independent writer'
t=$(now)
qemu-img create -q -f vmdk -o subformat=monolithicFlat base.vmdk 64M
cp --sparse=always base.img base-flat.vmdk
qemu-img create -q -f vmdk -F vmdk -b base.vmdk x.vmdk
# Every 64 KiB grain in which at least one byte differs.
{ cmp -l base.img changed.img || :; } |
    awk '{ g = int(($1 - 1) / 65536); if (g != last || NR == 1) print g; last = g }' > grains
while read -r g; do
    dd if=changed.img of=grain.$g bs=64K skip="$g" count=1 status=none
    echo "write -q -s grain.$g $((g * 65536)) 65536"
done < grains > commands
qemu-io -f vmdk x.vmdk < commands > qemu-io.log 2>&1 || { cat qemu-io.log; die 'qemu-io'; }
qemu-img compare -q -f vmdk -F raw x.vmdk changed.img || die 'QEMU made another delta than we asked for'
rm -f grain.* base-flat.vmdk
note "x.vmdk: $(wc -l < grains) grains of 64 KiB changed, $(human "$(stat -c %s x.vmdk)") on disk, made in $(took "$t")"
tr -d '\0' < x.vmdk | grep -a -E '^(CID|parentCID|createType|parentFileNameHint|RW )' | show
base_sum=$(sum base.img) delta_sum=$(sum x.vmdk)

# ---------------------------------------------------------------------------
say 'Serve base and delta as one disk, and look at its map'
note "nbdkit -U - -r --filter=$filter \\"
note '    file base.img delta=x.vmdk --run '\''nbdinfo --map --totals "$uri"'\'
serve () { nbdkit -U - -r --filter="$filter" file base.img delta=x.vmdk --run "$1"; }
serve 'nbdinfo --map --totals "$uri"' | show

# ---------------------------------------------------------------------------
say 'Copy the whole disk out: nbdcopy "$uri" merged.img'
t=$(now)
serve 'nbdcopy "$uri" merged.img'
note "merged.img, $(stat -c %s merged.img) bytes, copied in $(took "$t"), starting nbdkit included"

# ---------------------------------------------------------------------------
say 'Compare'
note "base        $base_sum"
note "changed     $(sum changed.img)"
note "merged      $(sum merged.img)"
cmp merged.img changed.img || die 'merged.img differs from the changed copy'
note 'merged.img is the changed copy, byte for byte'
[ "$(sum base.img)" = "$base_sum" ] || die 'base.img was modified'
[ "$(sum x.vmdk)" = "$delta_sum" ] || die 'x.vmdk was modified'
note 'base.img and x.vmdk were not modified'
e2fsck -fn merged.img > e2fsck.log 2>&1 || { show < e2fsck.log; die 'e2fsck is not content'; }
note "e2fsck: $(tail -n 1 e2fsck.log)"
list merged.img | cmp -s - after.txt || die 'the file lists differ'
note "files in merged.img: $(wc -l < after.txt); first line of the new one, read through the delta:"
debugfs -R 'cat /report.txt' merged.img 2>/dev/null | sed -n 1p | show

printf '\n%sdemo: success%s (%s)\n' "$green" "$plain" "$(took "$begin")"
