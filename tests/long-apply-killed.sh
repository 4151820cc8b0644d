#!/bin/bash
# The same as test-tool-apply-killed, many more times.
: "${KILLS:=400}"
. "${top_srcdir:?run it with make check}/tests/test-tool-apply-killed.sh"
