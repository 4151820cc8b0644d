#!/bin/bash
# test-printed-commands.sh with all names.
PRINTED_NAMES=all . "$top_srcdir/tests/test-printed-commands.sh"
