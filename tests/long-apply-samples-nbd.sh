#!/bin/bash
# The same as test-tool-apply-samples, with an NBD export as the target.
APPLY_TO=nbd
. "$top_srcdir/tests/test-tool-apply-samples.sh"
