#!/bin/bash
# The same as test-faults, with more of the calls that fail.
: "${STRIDE:=1}"
. "${top_srcdir:?run it with make check}/tests/test-faults.sh"
