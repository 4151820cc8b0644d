#!/bin/bash
# A delta that is cut: refused, or an error for what is missing and nothing else.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/drive/fixture.sh"
need filter mkimage nbdcopy

base
whole=0 partly=0 refused=0
for format in cowd kdmv stream sesparse; do
    rm -f ./*.vmdk
    delta x $format --fill=60
    cp base.raw expected.raw
    overlay expected.raw x.raw
    size=$(stat -c %s "x-$format.vmdk")
    cp "x-$format.vmdk" copy
    for cut in 0 3 100 511 512 1000 2048 4096 $((size / 10)) $((size / 4)) $((size / 2)) \
               $((size - 5000)) $((size - 512)) $((size - 1)); do
        cp copy "x-$format.vmdk"
        truncate -s $cut "x-$format.vmdk"
        status=0
        nbdkit_run file base.raw delta=x.vmdk --run true 2>log || status=$?
        if [ $status -ne 0 ]; then
            [ $status -le 125 ] || fail "$format cut at $cut: status $status"
            grep -q "x-$format" log || fail "$format cut at $cut: the file is not named: $(cat log)"
            refused=$((refused + 1))
            continue
        fi
        # Each of these reads is right or fails.
        serve file base.raw delta=x.vmdk 2>log
        errors=0
        for ((at = 0; at < 4194304; at += 262144)); do
            if read_range $at 262144 > piece 2>error; then
                cmp -s -i $at:0 -n 262144 expected.raw piece || fail "$format cut at $cut: wrong bytes at $at"
            else
                grep -q 'Input/output error' error || fail "$(cat error)"
                errors=$((errors + 1))
            fi
        done
        kill -0 "$server_pid" || fail 'the server is gone'
        stop
        if [ $errors -gt 0 ]; then
            grep -q "x-$format" log || fail "$format cut at $cut: the file is not named: $(cat log)"
            partly=$((partly + 1))
        else
            # Nothing but what no grain needs can be missing.
            [ $cut -ge $((size - 512)) ] || fail "$format cut at $cut of $size: no error"
            whole=$((whole + 1))
        fi
    done
done
echo "$refused refused, $partly with errors, $whole harmless"
[ $refused -gt 0 ] && [ $partly -gt 8 ] || fail 'the cuts are not where they should be'
