#!/bin/bash
# Random chains, read through the filter and compared with the byte model: bytes,
# block status and, of some, what QEMU reads.  See tests/drive/random-images.c.
#
# RANDOM_START and RANDOM_COUNT (seeds) can be given: one seed that failed, say.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need filter qemu-img

driver=$builddir/tests/random-images
count=${RANDOM_COUNT:-$([ "${SANITIZE:-}" ] && echo 30 || echo 120)}
start=${RANDOM_START:-1}

# One range of seeds for each of two processes.
half=$(((count + 1) / 2))
pids=()
for i in 0 1; do
    n=$((i ? count - half : half))
    [ $n -gt 0 ] || continue
    mkdir "$T/$i"
    TMPDIR=$T/$i "$driver" $((start + i * half)) $n &
    pids+=($!)
done
status=0
for pid in "${pids[@]}"; do wait "$pid" || status=$?; done
exit $status
