#!/bin/bash
# Versions, flags and fields that nobody knows are refused, with value and place.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/drive/fixture.sh"
need filter mkimage

base
# refused FORMAT OFFSET HEX... -- REGEX: with these bytes overwritten.
refused () {
    local format=$1 offset=$2 bytes=()
    shift 2
    while [ "$1" != -- ]; do bytes+=("$1"); shift; done
    rm -f x*.vmdk
    delta x "$format"
    poke "x-$format.vmdk" "$offset" "${bytes[@]}"
    echo "$format byte $offset: ${bytes[*]}"
    expect_fail "x-$format\\.vmdk.*($2)" nbdkit_run file base.raw delta=x.vmdk --run true
}
refused cowd 4 02 00 00 00 -- 'version 2'
refused cowd 16 03 00 00 00 -- 'grain size is 3 sectors'
refused cowd 16 00 00 00 00 -- 'grain size is 0'
refused cowd 12 00 00 00 00 -- 'no sectors|needed|directory'
refused cowd 20 ff ff ff 0f -- 'grain directory at sector 268435455'
refused kdmv 4 09 00 00 00 -- 'version 9'
refused kdmv 8 03 00 00 80 -- 'flag'
refused kdmv 20 00 00 00 00 00 00 00 00 -- 'grain size'
refused kdmv 20 81 00 00 00 00 00 00 00 -- 'grain size'
refused kdmv 44 00 00 00 00 -- 'entries|table'
refused kdmv 56 ff ff ff 0f 00 00 00 00 -- 'directory'
refused kdmv 73 0a 0a 20 0d -- 'text-mode transfer'
refused kdmv 77 07 00 -- 'compress'
refused kdmv 12 ff ff ff ff ff ff ff 7f -- 'capacity|sectors'
refused stream 77 02 00 -- 'compress'
refused sesparse 8 02 00 00 00 02 00 00 00 -- 'version'
refused sesparse 24 10 00 00 00 00 00 00 00 -- 'grain size'
refused sesparse 32 80 00 00 00 00 00 00 00 -- 'table size'
refused sesparse 40 01 00 00 00 00 00 00 00 -- 'flags'
refused sesparse 48 00 04 00 00 00 00 00 00 -- 'reserved field 1'
refused sesparse 300 01 -- 'header byte 300'

# The lower half of KDMV's flags is for hints that a reader may ignore.
rm -f x*.vmdk
delta x kdmv
flags=$(peek32 x-kdmv.vmdk 8)
poke x-kdmv.vmdk 8 "$(printf %02x $((flags | 0x80)))" 80
nbdkit_run file base.raw delta=x.vmdk --run true
