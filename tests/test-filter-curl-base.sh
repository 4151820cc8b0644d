#!/bin/bash
# The base may be on a web server.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/drive/fixture.sh"
need filter mkimage nbdcopy perl nbdkit:plugin:curl

perl -MIO::Socket::INET -e 1 || skip 'perl has no IO::Socket::INET'
simple
perl "$top_srcdir/tests/drive/httpd.pl" base.raw port &
httpd=$!
on_exit "kill $httpd"
await test -s port
serve curl "http://127.0.0.1:$(cat port)/base.raw" delta=x.vmdk
nbdcopy "$uri" out.raw
same expected.raw out.raw
