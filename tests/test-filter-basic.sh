#!/bin/bash
# The main job: a delta of each format over a raw base reads as the merged disk.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/drive/fixture.sh"
need filter mkimage nbdcopy

base
for format in cowd kdmv stream sesparse; do
    delta "x-$format" $format
    cp base.raw expected.raw
    overlay expected.raw "x-$format.raw"
    ! cmp -s base.raw expected.raw || fail "$format: the delta holds nothing"
    nbdkit_run file base.raw delta="x-$format.vmdk" --run 'nbdcopy "$uri" out.raw'
    same expected.raw out.raw

    # A bare extent, for the case that its descriptor is lost.
    nbdkit_run file base.raw delta="x-$format-$format.vmdk" --run 'nbdcopy "$uri" out.raw'
    same expected.raw out.raw
done
