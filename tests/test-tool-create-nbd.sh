#!/bin/bash
# vmdkdelta create between NBD servers; holes of a large disk are skipped; a server
# that fails leaves nothing; an interrupted run leaves nothing.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need filter tool nbdcopy nbdkit:plugin:file nbdkit:filter:error nbdkit:filter:delay

truncate -s 1T base.img
cp --sparse=always base.img new.img
for at in 5 300000 900000; do
    head -c 3000000 /dev/urandom | dd of=base.img bs=1M seek=$at conv=notrunc status=none
    head -c 3000000 /dev/urandom | dd of=new.img bs=1M seek=$((at + 1)) conv=notrunc status=none
done
start file base.img; base=$uri
start file new.img; new=$uri
for threads in 1 4; do
    for format in cowd sparse stream; do
        timeout 600 "$TOOL" create --from "$base" --to "$new" --format=$format --threads=$threads \
            --force --json d.vmdk > out
        # six places of at most 3 chunks of 4 MiB each
        compared=$(sed -n 's/.*"compared": \([0-9]*\).*/\1/p' out)
        [ "$compared" -le $((48 << 20)) ] || fail "compared $compared bytes"
        "$TOOL" check d.vmdk > /dev/null
    done
done
stop; stop
timeout 600 "$TOOL" create --from base.img --to new.img --grain=4K --quiet s.vmdk
start --filter="$FILTER" file base.img delta=s.vmdk; have=$uri
start file new.img
# equal, by our own means: the delta from one to the other is empty
timeout 600 "$TOOL" create --from "$have" --to "$uri" --json e.vmdk > out
grep -q '"data-grains": 0' out
grep -q '"zero-grains": 0' out
stop; stop

start --filter=error file new.img error-pread=EIO error-pread-rate=100%
expect_fail 'cannot read.*Input/output error' "$TOOL" create --from base.img --to "$uri" n.vmdk
stop
! ls | grep -E '^n\.vmdk' || fail "something is left"

# A signal
head -c 64M /dev/urandom > slow.img
start --filter=delay file slow.img rdelay=1
"$TOOL" create --from base.img --to "$uri" n.vmdk 2> err & pid=$!
await compgen -G '*n*vmdk*.part'
kill -TERM $pid
status=0; wait $pid || status=$?
[ $status -ne 0 ] || fail "an interrupted run succeeded"
! ls | grep -E '^n\.vmdk' || fail "something is left after a signal"
grep -q interrupted err || { cat err; fail "status $status"; }
stop
