#!/bin/bash
# test-merge-killed.sh so often that it is really killed more than 200 times.
MERGE_KILLS=390 . "$top_srcdir/tests/test-merge-killed.sh"
