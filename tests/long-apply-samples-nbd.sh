#!/bin/bash
# The same as test-tool-apply-samples, with an NBD export as the target.
APPLY_TO=nbd
. "${top_srcdir:?run it with make check}/tests/test-tool-apply-samples.sh"
