#!/bin/bash
# CIDs are numbers of 1 to 8 hexadecimal digits in either case; a child may have the
# CID of its parent; what is not such a number is refused.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/test-chain-disks.sh"

while read -r cid parent; do
    base a.vmdk "$cid" A
    child s.vmdk 12345678 "$parent" "$(hint a.vmdk)"
    sees A s.vmdk
    silent
done <<'END'
1 00000001
00000001 1
77161c8 077161C8
abcdef01 ABCDEF01
0 00000000
fffffffe FFFFfffe
END

# A new snapshot has the CID of its parent until it is written to.
base a.vmdk 5555aaaa A
child s.vmdk 5555aaaa 5555aaaa "$(hint a.vmdk)"
child t.vmdk 5555aaaa 5555aaaa "$(hint s.vmdk)"
sees A t.vmdk
silent

# Compared as numbers: 12 is not 120.
base a.vmdk 12 A
child s.vmdk 1 120 "$(hint a.vmdk)"
refused s.vmdk
says "$T/s.vmdk was made on content 00000120 (its parentCID), but $T/a.vmdk has content 00000012 (its CID)"

for bad in 123456789 0x12 12g -1 '"' ''; do
    child s.vmdk 1 "$bad" "$(hint a.vmdk)"
    refused s.vmdk
    says "$T/s.vmdk line 4" 
    child s.vmdk "$bad" 12 "$(hint a.vmdk)"
    refused s.vmdk
    says "$T/s.vmdk line 3"
done
child s.vmdk 1 12g "$(hint a.vmdk)"
refused s.vmdk
says "line 4: parentcid '12g' is not a 32-bit hexadecimal number"

# Each of them stands once.
child s.vmdk 1 12 "$(hint a.vmdk)" CID=2
refused s.vmdk
says "$T/s.vmdk line 6: cid appears twice: it is '2' here, and '1' in line 3.  Remove the wrong one"
child s.vmdk 1 12 "$(hint a.vmdk)" parentcid=13
refused s.vmdk
says "$T/s.vmdk line 6: parentcid appears twice: it is '13' here, and '12' in line 4.  Remove the wrong one"

# A parent without a CID cannot be compared.
base a.vmdk 12 A
sed -i /^CID/d a.vmdk
child s.vmdk 1 9999 "$(hint a.vmdk)"
sees A s.vmdk
