#!/bin/bash
# All samples over all transports.
by_ssh='*'
. "$top_srcdir/tests/test-remote-samples.sh"
