#!/bin/bash
# Descriptors as people's editors leave them are read, with a warning where another program may
# not read them; what could be understood in two ways is refused.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/test-chain-disks.sh"
need filter tool iconv

base disk.vmdk aaaa0001 A
child disk-000001.vmdk bbbb0001 aaaa0001 "$(hint disk.vmdk)"
printf '\n# The Disk Data Base \n#DDB\n\nddb.adapterType = "lsilogic"\n' | tee -a disk.vmdk >> disk-000001.vmdk
mkdir kept
cp disk.vmdk kept/disk
cp disk-000001.vmdk kept/child

# both WARNING COMMAND...: the command changes each descriptor ($1); plugin and filter read on,
# and warn; "" is no warning.
both () {
    local warning=$1 f
    shift
    cp kept/disk disk.vmdk
    cp kept/child disk-000001.vmdk
    for f in disk.vmdk disk-000001.vmdk; do "$@" $f; done
    for f in disk.vmdk disk-000001.vmdk; do
        sees A $f
        if [ "$warning" ]; then warns "$warning"; else silent; fi
    done
    filter_sees A file disk-flat.vmdk delta=disk-000001.vmdk
    if [ "$warning" ]; then warns "$warning"; else silent; fi
    "$TOOL" info --chain disk-000001.vmdk > out 2>&1 || { cat out; fail "info: $*"; }
    "$TOOL" check --chain disk-000001.vmdk > out 2>&1 || { cat out; fail "check: $*"; }
}

bom () { { printf '\xef\xbb\xbf'; cat "$1"; } > new; mv new "$1"; }
append () { printf "$1" >> "$2"; }
crlf () { sed -i 's/$/\r/' "$1"; }
cr () { tr '\n' '\r' < "$1" > new; mv new "$1"; }
mixed () { sed -i '2~2s/$/\r/' "$1"; }
tabs () { sed -i -e '/^RW/s/ /\t\t/g' -e 's/=/ \t=\t /' "$1"; }
upper () { sed -i -e 's/^\([a-zA-Z.]*\) *=/\U\1=/' -e 's/^RW \([0-9]*\) VMFS/rw \1 vmfs/' "$1"; }
twice () { sed -i -e '/^CID/p' -e '/^createType/p' -e '/^parentCID/p' "$1"; }
after_name () { sed -i '/^RW/s/$/ # the data/' "$1"; }
smart () { sed -i '/^RW/s/"\(.*\)"/\xe2\x80\x9c\1\xe2\x80\x9d/' "$1"; }

both 'begins with a byte order mark' bom
both '' append '\x1a'
both '' append '\r\n\x1a\x1a\x1a\r\n'
both 'is taken for a comment' append '; edited by hand\n'
both 'is taken for a comment' append '// edited by hand\n'
both '' crlf
both '' cr
both '' mixed
both '' tabs
both '' upper
both '' after_name
both 'cid appears twice, with the same value' twice
both 'the quotation marks are those of a word processor' smart
both 'no closing quote (the text ends here: it is cut off)' append 'ddb.uuid = "60 00 C2'
both 'is not understood (the text ends here' append 'ddb.thinPro'
both 'there is a byte 0x01 in it' append 'ddb.comment = "\x01"\n'
both 'there is text behind the closing quote' append 'ddb.comment = "a"b"\n'

# ---- What is refused -----------------------------------------------------------------

# not TEXT... -- COMMAND...: the changed base is refused, and the child with it.
not () {
    local texts=()
    while [ "$1" != -- ]; do texts+=("$1"); shift; done
    shift
    cp kept/disk disk.vmdk
    cp kept/child disk-000001.vmdk
    "$@" disk.vmdk
    refused disk.vmdk
    says "${texts[@]}"
    refused disk-000001.vmdk
    says "${texts[@]}"
}
other () { sed -i 's/^CID=.*/&\nCID=cccc0001/' "$1"; }
not "cid appears twice: it is 'cccc0001' here, and 'aaaa0001' in line 3" 'Remove the wrong one' -- other
not 'in line 12 there is a byte 0x1a' -- append '\x1aRW 5 ZERO\n'
not 'the value has no closing quote' -- append 'ddb.uuid.parent = "622a'
utf16 () { iconv -f UTF-8 -t "$code" "$1" > new; mv new "$1"; }
for code in UTF-16 UTF-16LE UTF-16BE; do
    not 'disk.vmdk is a descriptor in UTF-16' 'iconv -f UTF-16 -t UTF-8' -- utf16
done

# ---- What is written into one is found again -------------------------------------------

# Merge changes the base's CID and drops the child's name, whatever the lines look like.
for change in bom cr mixed twice; do
    cp kept/disk disk.vmdk
    cp kept/child disk-000001.vmdk
    $change disk.vmdk
    "$TOOL" merge --quiet --keep disk-000001.vmdk 2> /dev/null || fail "merge: $change"
    ! tr '\r' '\n' < disk.vmdk | grep -a '^CID=aaaa0001' || fail "$change: a CID is left"
    sees A disk.vmdk
done
