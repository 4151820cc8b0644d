#!/bin/bash
# test-merge-killed.sh with at least 200 kills.
MERGE_KILLS=210 . "$top_srcdir/tests/test-merge-killed.sh"
