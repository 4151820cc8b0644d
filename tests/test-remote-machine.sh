#!/bin/bash
# A machine of VirtualBox is read, and copied, from another host: all its disks in all states.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/merge.sh"
. "$top_srcdir/tests/drive/hosts.sh"
need plugin tool xz nbdcopy nbdinfo

unpack vb-vdi-tiny-2
mkdir "$T/m" "$T/m/Snapshots"
cp "${chain[@]}" "$T/m"
make_machine "$T/m/m.vbox" ${#chain[@]} "${chain[@]}"
cd "$T"

# states PARAMETER...: a line for each export: its name, and a digest.
states () {
    local name
    start "$PLUGIN" "$@"
    nbdinfo --list --json "$uri" > exports
    while IFS= read -r name; do
        echo "$name $(nbdcopy "nbd+unix:///$(printf %s "$name" | od -An -v -tx1 | tr -d '\n' | tr ' ' '%')?socket=$sock" - | sha256sum)"
    done < <(sed -n 's/.*"export-name": "\(..*\)",$/\1/p' exports)
    stop
}
states m/m.vbox > want
[ "$(grep -c . want)" -ge 2 ] || { cat want; fail 'too few states'; }
start_web "$T"
start_sshd
by=(identity="$T/user" known-hosts="$T/known")
states "$web/m/m.vbox" > got
same want got
states "$web/folder/m/m.vbox?dcPath=x%2520y&dsName=z" > got
same want got
states "$ssh$T/m/m.vbox" "${by[@]/#/remote=}" > got
same want got

"$TOOL" info --chain "$web/m/m.vbox" > out
[ "$(grep -c ' ok' out)" -ge ${#chain[@]} ] || { cat out; fail 'info'; }
"$TOOL" fetch "${by[@]/#/--remote=}" "$ssh$T/m/m.vbox" copy > out
rmdir m/Snapshots
diff -r m copy
states copy/m.vbox > got
same want got
expect_fail 'there is no such file on that host' nbdkit "$PLUGIN" "$web/m/no.vbox" --run true
for verb in merge compact; do
    expect_fail 'needs local files' "$TOOL" $verb "$web/m/m.vbox"
done
