#!/bin/bash
# The same as test-tool-apply-memory, with five times as many grains.
: "${GRAINS:=20000}"
. "${top_srcdir:?run it with make check}/tests/test-tool-apply-memory.sh"
