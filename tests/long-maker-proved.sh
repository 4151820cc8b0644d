#!/bin/bash
# As test-maker-proved, with 2000 other seeds.
export COUNT=${COUNT:-2000} START=${START:-10000}
. "${top_srcdir:?run it with make check}/tests/test-maker-proved.sh"
