#!/bin/bash
# An nbdkit filter loads only into the nbdkit whose headers it was compiled
# with, to the last digit of the version.  Find out first if that is so here.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need filter

built=$NBDKIT_BUILT_FOR
runs=$(command nbdkit --dump-config | sed -n 's/^version=//p')
if [ "$built" != "$runs" ]; then
    cat <<END
This filter was built for nbdkit $built, but the nbdkit that runs here is $runs:
    $(command -v nbdkit)
nbdkit refuses a filter that was built for another version.  The version to
build for comes from "pkg-config --modversion nbdkit".  Either install the
development files of nbdkit $runs (Debian: nbdkit-plugin-dev, Fedora:
nbdkit-devel), or put the directory of nbdkit $built first in PATH, or set
PKG_CONFIG_PATH so that pkg-config finds nbdkit $runs; then run make again.
END
    exit 1
fi

# The proof: it loads.
nbdkit --filter="$FILTER" null --version
