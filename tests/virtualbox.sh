# VirtualBox as the tests use it: with homes and servers of its own, which nobody else's
# VirtualBox knows of, and no module of the kernel.

PATH=/usr/lib/virtualbox:$PATH  # without the scripts that ask for the kernel's module
need VBoxManage
export HOME=$T VBOX_USER_HOME VBOX_IPC_SOCKETID

# vbox_home NAME: from here on.  Each has a server of its own, which ends some seconds
# after the last command.
vbox_home () { VBOX_USER_HOME=$T/home-$1 VBOX_IPC_SOCKETID=vmdkdelta-$$-$1; }

# The servers of this test.
vbox_servers () {
    local p
    for p in $(pgrep VBoxSVC); do
        ! tr '\0' '\n' < "/proc/$p/environ" 2>/dev/null | grep -q "^VBOX_IPC_SOCKETID=vmdkdelta-$$-" || echo "$p"
    done
}
on_exit 'kill $(vbox_servers) 2>/dev/null || :'

# They keep machines in memory until they end.
vbox_gone () {
    local i
    for ((i = 0; i < 300; i++)); do
        [ "$(vbox_servers)" ] || return 0
        sleep 0.1
    done
    fail "VirtualBox's server does not end"
}

vbox_home first
VBoxManage list vms > "$T/log" 2>&1 || { cat "$T/log"; skip 'VirtualBox does not start here'; }
