#!/bin/bash
# The same as test-tool-apply-random, with other seeds and many more of them.
: "${RANDOM_START:=1000001}" "${RANDOM_COUNT:=2500}"
. "${top_srcdir:?run it with make check}/tests/test-tool-apply-random.sh"
