#!/bin/bash
# The same as test-tool-apply-memory, with five times as many grains.
: "${GRAINS:=20000}"
. "$top_srcdir/tests/test-tool-apply-memory.sh"
