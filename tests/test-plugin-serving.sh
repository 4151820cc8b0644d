#!/bin/bash
# Serving: as a daemon that was started with a relative path, several clients at
# different exports at once, and our filter over our plugin.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/test-chain-disks.sh"
need filter nbdinfo

mkdir vm
"$MKIMAGE" make kdmv vm/b-s001.vmdk --capacity=8M --fill=70 --descriptor=vm/b.vmdk --cid=1 --raw=b.raw
base vm/a.vmdk 5 A
child vm/a1.vmdk 6 5 "$(hint a.vmdk)"

# Several clients, each reads its export several times.
start "$PLUGIN" dir=vm
pids=()
for i in 1 2 3 4; do
    for f in a a1 b; do
        nbdcopy --connections=4 --requests=16 "nbd+unix:///$f.vmdk?socket=$sock" "out-$f-$i" &
        pids+=($!)
    done
done
for pid in "${pids[@]}"; do wait "$pid" || fail 'a client failed'; done
letters A > a.raw
for i in 1 2 3 4; do same "out-b-$i" b.raw; same "out-a-$i" a.raw; same "out-a1-$i" a.raw; done
stop

# A daemon changes to /.
for args in vm/a1.vmdk dir=vm "vm/a1.vmdk parent-path=vm"; do
    rm -f pid sock
    # shellcheck disable=SC2086  # words
    env ${NBDKIT_PRELOAD:+LD_PRELOAD=$NBDKIT_PRELOAD} nbdkit -P pid -U sock "$PLUGIN" $args
    status=0
    nbdcopy "nbd+unix:///a1.vmdk?socket=$T/sock" out || status=$?
    kill "$(cat pid)"
    [ $status = 0 ] || fail "daemon: $args"
    same out a.raw
done

# The filter over the plugin: the export that the client names is the base.
child vm/top.vmdk 7 5 "$(hint a.vmdk)"
serve "$PLUGIN" file=vm/a.vmdk delta=vm/top.vmdk
nbdcopy "$uri" out
same out a.raw
nbdcopy "nbd+unix:///a.vmdk?socket=$sock" out
same out a.raw
expect_fail . nbdinfo --size "nbd+unix:///b.vmdk?socket=$sock"
stop
