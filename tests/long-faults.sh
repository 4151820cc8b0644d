#!/bin/bash
# The same as test-faults, with more of the calls that fail.
: "${STRIDE:=1}"
. "$top_srcdir/tests/test-faults.sh"
