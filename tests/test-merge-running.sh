#!/bin/bash
# While VirtualBox is running, a machine is not merged: its server would write the file that it
# remembers over the new one.  A chain is merged: no machine file is changed.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/merge.sh"
need tool plugin xz nbdcopy sleep

unpack vb-vdi-tiny-2
mkdir "$T/vm" "$T/bin"
uuid=99999999-2222-4333-8444-$(printf '%012x' $$)
fresh () {
    rm -rf "$T/vm"; cp -r . "$T/vm"
    make_machine "$T/vm/m.vbox" "${#chain[@]}" "${chain[@]}"
    sed -i "s/{11111111-[^}]*}/{$uuid}/" "$T/vm/m.vbox"
}
# Other tests run beside this one: these processes have one machine, that of this test.
mkdir "$T/home"
list () {
    printf '<VirtualBox><Global><MachineRegistry><MachineEntry uuid="{%s}" src="%s"/></MachineRegistry></Global></VirtualBox>\n' \
        "$1" "$T/vm/m.vbox" > "$T/home/VirtualBox.xml"
}
list "$uuid"
export VBOX_USER_HOME=$T/home
for name in VBoxSVC VirtualBoxVM VBoxHeadless; do
    cp "$(command -v sleep)" "$T/bin/$name"
    "$T/bin/$name" 600 &
    pid=$!
    on_exit "kill $pid 2> /dev/null"
    until [ "$(cat /proc/$pid/comm)" = $name ]; do sleep 0.01; done
    fresh
    sums=$(sha256sum "$T"/vm/*)
    expect_fail "VirtualBox is running \\($name, process $pid\\).*m\\.vbox.*--allow-running.*nothing was written" \
        "$TOOL" merge "$T/vm/m.vbox"
    "$TOOL" merge --dry-run "$T/vm/m.vbox" > out 2> err
    grep -q "warning: VirtualBox is running ($name.*m\.vbox-prev: copy that back" err || fail "$(cat err)"
    [ "$sums" = "$(sha256sum "$T"/vm/*)" ] || fail 'something was written'
    "$TOOL" merge --no-machine "$T/vm/${chain[-1]}"
    fresh
    "$TOOL" merge --allow-running "$T/vm/m.vbox" 2> err
    grep -q 'm\.vbox-prev: copy that back' err || fail "$(cat err)"
    [ "$(digest "$T/vm/${chain[0]}")" = "${digests[-1]}" ]
    kill $pid
    wait $pid || :
done

# One that has other machines does not matter.
fresh
list 99999999-2222-4333-8444-aaaaaaaaaaaa
"$T/bin/VBoxSVC" 600 &
pid=$!
on_exit "kill $pid 2> /dev/null"
until [ "$(cat /proc/$pid/comm)" = VBoxSVC ]; do sleep 0.01; done
"$TOOL" merge "$T/vm/m.vbox" 2> err
! grep -q 'VirtualBox' err || fail "$(cat err)"
kill $pid
wait $pid || :
list "$uuid"

# By the way in which it was called; and others do not matter.
fresh
(exec -a /usr/lib/virtualbox/VBoxSVC sleep 600) &
pid=$!
on_exit "kill $pid 2> /dev/null"
until tr '\0' ' ' < /proc/$pid/cmdline | grep -q VBoxSVC; do sleep 0.01; done
expect_fail "VirtualBox is running .VBoxSVC, process $pid" "$TOOL" merge "$T/vm/m.vbox"
kill $pid
wait $pid || :
cp "$T/bin/VBoxSVC" "$T/bin/VBoxSVCX"
"$T/bin/VBoxSVCX" 600 &
on_exit "kill $! 2> /dev/null"
"$TOOL" merge "$T/vm/m.vbox" 2> err
! grep -q 'VirtualBox' err || fail "$(cat err)"
