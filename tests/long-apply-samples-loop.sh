#!/bin/bash
# The same as test-tool-apply-samples, with a loop device as the target.
APPLY_TO=loop
. "${top_srcdir:?run it with make check}/tests/test-tool-apply-samples.sh"
