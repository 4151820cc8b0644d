#!/bin/bash
# The same as test-tool-apply-samples, with a loop device as the target, and for the smaller
# of them; long-apply-samples-loop takes all.
APPLY_TO=loop SAMPLES=${SAMPLES:-q72-* fc-* vb-vdi-*}
. "$top_srcdir/tests/test-tool-apply-samples.sh"
