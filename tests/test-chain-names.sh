#!/bin/bash
# Names as other systems wrote them, for parents and extents alike: absolute, Windows and
# datastore paths, .\ and sub paths, other letter case, brackets, and encodings whose
# second bytes can be a backslash.  The files lie beside the descriptor.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/test-chain-disks.sh"
need filter tool iconv

# named DIR EXTENT-PREFIX HINT-PREFIX: a base and a child whose extents and parent are
# named with these before the last component.
named () {
    mkdir "$1"
    base "$1/disk.vmdk" 1 A
    child "$1/s.vmdk" 2 1 "$(hint "$3disk.vmdk")"
    perl -pi -e 'BEGIN { $p = shift } s/^(RW \d+ \S+ ")/$1$p/' -- "$2" "$1/disk.vmdk" "$1/s.vmdk"
}
need perl
n=0
store=/vmfs/volumes/501d996c-86c66169-eea2-005056b007c1/web
for prefix in "$store/" 'D:\web\' 'd:/web/' '.\' './' 'sub\' sub/ '..\web\' '\\server\share\web\' '\\?\C:\web\' \
              '[store1] web/' /home/u/web/; do
    n=$((n + 1))
    named d$n "$prefix" "$prefix"
    sees A d$n/s.vmdk
    silent
    filter_sees A file d$n/disk-flat.vmdk delta=d$n/s.vmdk
    silent
    "$TOOL" info d$n/s.vmdk > info || fail "info: $(cat info)"
    grep -Fq "$prefix" info || fail "the name is not shown as it stands: $prefix"
done

# The directory above, and directories that are named.
named e 'D:\gone\' 'D:\gone\'
mkdir f
mv e/disk.vmdk e/disk-flat.vmdk f
refused e/s.vmdk
says "parent 'D:\\gone\\disk.vmdk' of"
sees A e/s.vmdk parent-path=f
mv f/disk-flat.vmdk .
refused e/s.vmdk parent-path=f
says "$T/f/disk.vmdk line 6 refers to D:\\gone\\disk-flat.vmdk: No such file or directory; looked in $T/f for: disk-flat.vmdk, ../gone/disk-flat.vmdk" \
    '(it is a Windows path)' 'Copy it there, or name its directory with parent-path'
if grep -Fq unconfined "$T/output"; then fail 'advice that does not help'; fi
sees A e/s.vmdk parent-path=f parent-path=.

# One of that name that cannot be it is not taken.
named g "$store/" ''
mkdir g2
mv g/disk-flat.vmdk g2
head -c 65535 /dev/zero > g/disk-flat.vmdk
refused g/s.vmdk
says "$T/g/disk-flat.vmdk is 65535 bytes long, but the extent needs 65536"
sees A g/s.vmdk parent-path=g2
head -c 65536 /dev/zero > g/s-delta.vmdk
refused g/s.vmdk parent-path=g2
says "$T/g/s-delta.vmdk is not a sparse VMDK extent"

# Letter case, of directories too; but what has the very name is taken.
named h 'SUB\' ''
mkdir h/Sub
mv h/disk-flat.vmdk h/Sub/DISK-Flat.VMDK
mv h/s-delta.vmdk h/S-DELTA.vmdk
mv h/disk.vmdk h/Disk.vmdk
sees A h/s.vmdk
silent
letters B > h/Sub/disk-flat.vmdk
sees B h/s.vmdk
mv h/Sub/disk-flat.vmdk h/Sub/disk-FLAT.vmdk
refused h/s.vmdk
says 'refers to SUB/disk-flat.vmdk, which is not there' DISK-Flat.VMDK disk-FLAT.vmdk 'it is not clear which is meant'
# Links still lead nowhere else.
mkdir i secret
letters S > secret/X.raw
ln -s ../secret i/Link
printf '# Disk DescriptorFile\nCID=1\nRW 128 FLAT "link/x.raw"\n' > i/d.vmdk
refused i/d.vmdk
says 'i/d.vmdk line 3 refers to link/x.raw'
sees S i/d.vmdk parent-path=secret

# "[PROD] web" is a file like others.
mkdir j
base 'j/[PROD] web.vmdk' 1 A
child 'j/[PROD] web-000001.vmdk' 2 1 "$(hint '[PROD] web.vmdk')"
sees A 'j/[PROD] web-000001.vmdk'
child j/s.vmdk 3 1 "$(hint '[PROD] gone.vmdk')"
refused j/s.vmdk
says "parent '[PROD] gone.vmdk' of $T/j/s.vmdk not found; looked in $T/j for: [PROD] gone.vmdk. "
child j/s.vmdk 3 1 "$(hint '[store1] vm/gone.vmdk')"
refused j/s.vmdk
says "'[store1] vm/gone.vmdk' names an object of a datastore" 'gone.vmdk, ../vm/gone.vmdk'
mkdir 'j/[store1] vm'
base 'j/[store1] vm/gone.vmdk' 1 B
base j/gone.vmdk 1 C
sees B j/s.vmdk

# ---- Encodings ----------------------------------------------------------------

# encoded DIR ENCODING ICONV NAME: the descriptors are in it; the files have UTF-8 names.
encoded () {
    local f
    mkdir "$1"
    base "$1/$4.vmdk" 1 A "encoding=\"$2\""
    child "$1/$4-000001.vmdk" 2 1 "encoding=\"$2\"" "$(hint "$4.vmdk")"
    for f in "$1/$4.vmdk" "$1/$4-000001.vmdk"; do
        iconv -f UTF-8 -t "$3" < "$f" > text
        cp text "$f"
    done
}
while read -r encoding iconv name; do
    n=$((n + 1))
    iconv -f UTF-8 -t "$iconv" <<< "$name" > /dev/null || fail "iconv does not know $iconv"
    encoded d$n "$encoding" "$iconv" "$name"
    sees A "d$n/$name-000001.vmdk"
    silent
    filter_sees A file "d$n/$name-flat.vmdk" delta="d$n/$name-000001.vmdk"
    silent
    "$TOOL" info --json --chain "d$n/$name-000001.vmdk" > json
    grep -Fq "\"$name.vmdk\"" json || fail "JSON does not show the hint: $name"
    grep -Fq "\"$name-flat.vmdk\"" json || fail "JSON does not show the extent: $name"
    # As a system of that kind would have named them: raw bytes, in front of the others.
    raw=$(iconv -f UTF-8 -t "$iconv" <<< "$name-flat.vmdk")
    letters B > "d$n/$raw"
    sees B "d$n/$name-000001.vmdk"
    rm "d$n/$raw"
    # Said in UTF-8 where it is not there.
    mv "d$n/$name.vmdk" moved
    refused "d$n/$name-000001.vmdk"
    says "parent '$name.vmdk' of"
done <<'END'
GBK CP936 服务器
GB18030 GB18030 数据盘
Big5 CP950 功能許
Shift_JIS CP932 表ソ能
EUC-KR CP949 서버
windows-949 CP949 똠방각하
windows-1252 CP1252 Müller
windows-1251 CP1251 сервер
ISO-8859-1 ISO-8859-1 Café
macintosh MACINTOSH Crème
END

# The backslash in a character is none; between them it is one.
mkdir k
base k/表ソ.vmdk 1 A 'encoding="Shift_JIS"'
child k/s.vmdk 2 1 'encoding="Shift_JIS"' "$(hint 'C:\能\表ソ.vmdk')"
sed -i 's,"表ソ-flat,".\\表ソ-flat,' k/表ソ.vmdk
for f in k/*.vmdk; do
    case $f in *-flat.vmdk|*-delta.vmdk) continue ;; esac
    iconv -f UTF-8 -t CP932 < "$f" > text
    cp text "$f"
done
sees A k/s.vmdk
silent

# What it says is not what it is: saved as UTF-8 since.
mkdir l
base l/Müller.vmdk 1 A 'encoding="windows-1252"'
child l/s.vmdk 2 1 'encoding="GBK"' "$(hint Müller.vmdk)"
sees A l/s.vmdk
# macOS keeps accents apart.
mkdir m
base m/x.vmdk 1 A
child m/s.vmdk 2 1 "$(hint $'\xc3\x9cber.vmdk')"
mv m/x.vmdk $'m/U\xcc\x88ber.vmdk'
sees A m/s.vmdk
silent
# Not known, or not to be converted: looked for as it stands.
for e in UTF-16 ISO-2022-CN-EXT ../../etc/passwd klingon; do
    child m/t.vmdk 2 1 "encoding=\"$e\"" "$(hint $'\xfc.vmdk')"
    refused m/t.vmdk
    says "parent '\\xfc.vmdk' of"
done
