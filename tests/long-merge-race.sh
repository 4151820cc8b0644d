#!/bin/bash
# test-merge-race.sh, 2000 moments (RACE_RUNS; "all" takes hours).
: "${RUNS:=2000}"
RACE_RUNS=$RUNS . "$top_srcdir/tests/test-merge-race.sh"
