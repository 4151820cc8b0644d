#!/bin/bash
# test-merge-killed.sh until merges were really killed 200 times (KILLS).
: "${KILLS:=200}"
MERGE_KILLS=$KILLS . "$top_srcdir/tests/test-merge-killed.sh"
