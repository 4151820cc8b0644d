#!/bin/bash
# What is a hint and what is not: comments, second hints, no hint at all, a hint in a
# disk that says it has no parent.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/test-chain-disks.sh"

base a.vmdk 1 A
base b.vmdk 1 B

child s1.vmdk 2 1 '# parentFileNameHint="b.vmdk"' "$(hint a.vmdk)" '#parentFileNameHint="b.vmdk"'
sees A s1.vmdk
silent
child s2.vmdk 2 1 'ddb.comment="parentFileNameHint=b.vmdk"' '  parentfilenamehint = "a.vmdk"  '
sees A s2.vmdk
silent

child s3.vmdk 2 1 "$(hint a.vmdk)" "$(hint b.vmdk)"
refused s3.vmdk
says "$T/s3.vmdk line 6: parentfilenamehint appears twice: it is 'b.vmdk' here, and 'a.vmdk' in line 5.  Remove the wrong one"
child s4.vmdk 2 1 "$(hint a.vmdk)" "$(hint a.vmdk)"
sees A s4.vmdk
warns "$T/s4.vmdk line 6: parentfilenamehint appears twice, with the same value (also in line 5)"

# A child without a hint is never a base.
child s5.vmdk 2 0000abcd '# parentFileNameHint="a.vmdk"'
refused s5.vmdk
says "$T/s5.vmdk has a parent (parentCID 0000abcd) but does not say which file; give it with parent=FILE"
child s6.vmdk 2 1
sees A s6.vmdk parent=a.vmdk
sees B s6.vmdk parent=b.vmdk
silent
refused s6.vmdk parent=gone.vmdk
says "$T/gone.vmdk: cannot open: No such file or directory"
refused s6.vmdk parent=s6.vmdk
says "$T/s6.vmdk"
# parent= is for the link whose parent is not known, wherever that is in the chain.
child s7.vmdk 3 2 "$(hint s6.vmdk)"
sees B s7.vmdk parent=b.vmdk
# It does not overrule a hint that works.
sees A s1.vmdk parent=b.vmdk

# parentCID=ffffffff: a base, whatever the hint says.
child s8.vmdk 2 ffffffff "$(hint a.vmdk)"
sees 0 s8.vmdk
warns "warning: $T/s8.vmdk: parentCID is ffffffff (no parent); its parentFileNameHint 'a.vmdk' is ignored"
child s9.vmdk 2 FFFFFFFF
sees 0 s9.vmdk
silent
