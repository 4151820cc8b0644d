#!/bin/bash
# Started without standard input, output or error: what would be printed there is not
# written into the files that are opened instead.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need tool qemu-img

head -c 1M /dev/urandom > base
{ head -c 81920 base; head -c 4096 /dev/urandom; tail -c +86017 base; } > new
"$TOOL" create --quiet --from base --to new d.vmdk
qemu-img create -q -f vmdk -o subformat=monolithicFlat disk.vmdk 1M
sum=$(sha256 d.vmdk)
for closed in '>&-' '2>&-' '<&- >&-' '<&- 2>&-' '>&- 2>&-' '<&- >&- 2>&-'; do
    for options in '' --verify --undo=undo.vmdk '--progress=json --quiet'; do
        rm -f undo.vmdk
        fresh base target
        # shellcheck disable=SC2086
        (eval "exec $closed"; exec "$TOOL" apply $options d.vmdk target) || :
        cmp target new || fail "apply $options $closed"
    done
    # It is an error that there is no output, which must not be said in the files either.
    (eval "exec $closed"; exec "$TOOL" apply d.vmdk disk.vmdk) && fail 'a descriptor was taken for a disk'
    (eval "exec $closed"; exec "$TOOL" check d.vmdk) || :
    (eval "exec $closed"; exec "$TOOL" compact target) || :
    cmp target new
    [ "$(sha256 d.vmdk)" = "$sum" ] || fail "the delta has changed: $closed"
done
expect_fail 'stdout' bash -c '"$1" info d.vmdk >&-' bash "$TOOL"
