#!/bin/bash
# The maker of test images is proved by QEMU: it reads what the maker makes as the
# byte model says, chains included.  More of them: long-maker-proved.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need mkimage qemu-img

"$top_srcdir/tests/maker/prove.sh" "${COUNT:-60}" "${START:-1}"
