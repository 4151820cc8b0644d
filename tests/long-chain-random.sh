#!/bin/bash
# The same as test-chain-random, with other seeds and many more of them.
: "${RANDOM_START:=1000001}" "${RANDOM_COUNT:=1000}"
. "${top_srcdir:?run it with make check}/tests/test-chain-random.sh"
