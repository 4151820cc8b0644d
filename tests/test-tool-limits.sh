#!/bin/bash
# Limits of files, and names that would destroy what they name: an error before, or a
# reason behind, and the files are as they were.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need tool

head -c 3M /dev/urandom > old.img
head -c 3M /dev/urandom > new.img

# The limit of a file's size is an error and not a silent death.
expect_fail 'File too large .*ulimit -f' bash -c 'ulimit -f 1000; exec "$@"' - \
    "$TOOL" create --quiet --from old.img --to new.img d.vmdk
if ls d.vmdk*; then fail 'something is left'; fi

# The descriptor of the base is not the delta.
"$TOOL" create --quiet --from old.img --to new.img --base-descriptor=base.vmdk good.vmdk
cp base.vmdk kept.vmdk
ln base.vmdk second-name.vmdk
for out in base.vmdk ./base.vmdk second-name.vmdk; do
    expect_fail "$out is the base's descriptor.*another name" "$TOOL" create --quiet --force \
        --from old.img --to new.img --base-descriptor=base.vmdk "$out"
    same base.vmdk kept.vmdk
done
# (of a pair, the extent)
cp base.vmdk pair-delta.vmdk
expect_fail "pair-delta.vmdk is the base's descriptor" "$TOOL" create --quiet --force --format=cowd \
    --from old.img --to new.img --base-descriptor=pair-delta.vmdk pair.vmdk
same pair-delta.vmdk kept.vmdk
# one that is made and not used goes
expect_fail "is the base's descriptor" "$TOOL" create --quiet --force --from old.img --to new.img \
    --base-descriptor=none.vmdk none.vmdk
if ls none.vmdk*; then fail 'something is left'; fi
