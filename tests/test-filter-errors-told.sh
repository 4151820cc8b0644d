#!/bin/bash
# Errors of reading: the first 100 are printed, so that a client that reads on and on does
# not fill the log; with -v all of them.  Of filter and plugin.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need filter plugin mkimage nbdinfo

"$MKIMAGE" make cowd bad-delta.vmdk --capacity=1M --fill=100 --descriptor=bad.vmdk --cid=1
truncate -s 1M base.raw
# All grains but the first few sectors of the file are gone.
head -c $((16 * 512)) bad-delta.vmdk > cut
gt=$(($(od -An -tu4 -j 2048 -N 4 bad-delta.vmdk | tr -d ' ') * 512))
truncate -s "$(stat -c %s bad-delta.vmdk)" cut
# Entries that lead outside of the file, all of them.
head -c $((2048 * 4)) /dev/zero | tr '\0' '\177' | dd of=bad-delta.vmdk bs=1 seek=$gt conv=notrunc status=none

reads () {
    local i
    for ((i = 0; i < 150; i++)); do
        ! "$builddir/tests/read-range" "$uri" $((i * 512)) 512 > piece 2> /dev/null || fail "$i is read"
    done
}
for server in filter plugin; do
    for verbose in '' -v; do
        case $server in
            filter) serve $verbose file base.raw delta=bad.vmdk delta-allow-no-parent=true 2> log ;;
            plugin) start $verbose "$PLUGIN" bad.vmdk 2> log ;;
        esac
        reads
        stop
        n=$(grep -c 'error: .*bad-delta\.vmdk: grain [0-9]' log || :)
        all=$(grep -c 'bad-delta\.vmdk: grain [0-9]' log || :)
        echo "$server $verbose: $n errors, $all in all"
        [ "$n" -eq 100 ] || { tail -n 5 log; fail "$server $verbose: $n errors were printed, not 100"; }
        if [ "$verbose" ]; then [ "$all" -ge 150 ] || fail "$server: with -v only $all were told"; fi
    done
done
