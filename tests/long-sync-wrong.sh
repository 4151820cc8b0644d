#!/bin/bash
# The same as test-sync-wrong, over all kinds of targets.
KINDS='file flat nbd loop'
. "${top_srcdir:?run it with make check}/tests/test-sync-wrong.sh"
