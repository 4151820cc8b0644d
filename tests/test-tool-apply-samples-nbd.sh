#!/bin/bash
# The same as test-tool-apply-samples, with an NBD export as the target, and for the smaller
# of them; long-apply-samples-nbd takes all.
APPLY_TO=nbd SAMPLES=${SAMPLES:-q72-* fc-* vb-vdi-*}
. "$top_srcdir/tests/test-tool-apply-samples.sh"
