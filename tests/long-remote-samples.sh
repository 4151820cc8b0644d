#!/bin/bash
# All samples over all transports.
by_ssh='*'
. "${top_srcdir:?run it with make check}/tests/test-remote-samples.sh"
