#!/bin/bash
# 50 kills of test-migrate.
MIGRATE_KILLS=50
export MIGRATE_KILLS
. "${top_srcdir:?run it with make check}/tests/test-migrate.sh"
