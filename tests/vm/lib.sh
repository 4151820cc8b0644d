# shellcheck shell=bash
# For the tests with a virtual machine; source it after lib.sh.
#
# The machine is emulated (TCG), so that it runs everywhere and the same; VM_ACCEL=kvm
# takes the processor's help.  Its kernel is from $VM_KERNEL and $VM_MODULES, or what
# scripts/vm-kernel.sh has put into $VM_KERNEL_CACHE.
#
# All output of the guest is in "console" (and, with VM_LOGS=DIR, kept as
# DIR/NAME-console.txt when the test ends).

vm_cache=${VM_KERNEL_CACHE:-/var/tmp/vmdkdelta-vm-kernel}
vm_kernel=${VM_KERNEL:-$(compgen -G "$vm_cache/boot/vmlinuz-*" | head -n 1 || :)}
vm_modules=${VM_MODULES:-$vm_cache/lib/modules}

# need_vm: skip without what a machine takes.
need_vm () {
    need qemu-system-x86_64 busybox mke2fs debugfs e2fsck mformat mcopy syslinux qemu-img
    [ "$vm_kernel" ] || skip 'no kernel for the guest: run scripts/vm-kernel.sh, or set VM_KERNEL and VM_MODULES'
    [[ $(qemu-system-x86_64 -accel help) = *tcg* ]] || skip 'QEMU has no emulation (tcg)'
    [[ $(busybox --list) = *$'\n'cpio$'\n'* ]] || skip 'busybox has no cpio'
    ! ldd "$(command -v busybox)" > /dev/null 2>&1 || skip 'busybox is not static'
}

# guest [MORE-MIB]: base.img; change.vmdk, the delta that leads to the disk as the guest
# left it; "expected", what the guest must find in its files.
guest () {
    bash "$top_srcdir/tests/vm/guest.sh" "$vm_kernel" "$vm_modules" . "${1:-0}"
    "$TOOL" create --from base.img --to new.img change.vmdk > create.log
    mv new.img merged.expected
    sha256sum base.img change*.vmdk > sums
}

# unchanged: base and delta are as they were.
unchanged () { sha256sum --quiet -c sums || fail 'the base or the delta was changed'; }

# qemu_args: what all machines here have.
qemu_args=(-accel "${VM_ACCEL:-tcg}" -m 192 -nodefaults -display none -no-reboot)

# serial: make the serial port: what the guest prints goes to "console".
serial () {
    mkfifo tty.in tty.out
    # "times" has the time of each line.
    while IFS= read -r line; do
        printf '%s\n' "${line%$'\r'}" >> console
        printf '%s %s\n' "$EPOCHREALTIME" "${line%$'\r'}" >> "times"
    done < tty.out &
    on_exit "kill $!"
    # Both ends stay open while one machine follows another.
    exec 7<> tty.in 8<> tty.out
    qemu_args+=(-chardev "pipe,id=tty,path=$T/tty" -serial chardev:tty)
    on_exit keep_console
}

# boot ARGS...: start a machine with these disks.
boot () {
    [ -p tty.in ] || serial
    qemu-system-x86_64 "${qemu_args[@]}" "$@" > qemu.log 2>&1 7>&- 8>&- &
    qemu_pid=$!
    on_exit "kill $qemu_pid 2>/dev/null"
}

# say LINE: type it in the guest.
say () { echo "$*" >&7; }

keep_console () {
    [ -z "${VM_LOGS:-}" ] || { mkdir -p "$VM_LOGS"; cp console "$VM_LOGS/$(basename "$0" .sh)-console.txt"; }
}

# wait_console REGEX [SECONDS]: until the guest has printed it.
wait_console () {
    local i
    : >> console
    for ((i = 0; i < ${2:-200} * 10; i++)); do
        ! grep -qE -e "$1" console 2>/dev/null || return 0
        kill -0 "$qemu_pid" 2>/dev/null || break
        sleep 0.1
    done
    grep -qE -e "$1" console || {
        tail -n 30 console; cat ./*.log; fail "the guest did not print: $1"; }
}

# wait_off: tell the guest to stop, and wait for the end of QEMU.
wait_off () {
    local status=0 i
    say off
    wait_console '^GUEST off after beat' 60
    for ((i = 0; i < 300; i++)); do kill -0 "$qemu_pid" 2>/dev/null || break; sleep 0.1; done
    ! kill -0 "$qemu_pid" 2>/dev/null || fail 'QEMU does not end'
    # If it is our child: one that was made a daemon is not.
    wait "$qemu_pid" 2>/dev/null || status=$?
    [ $status -ne 127 ] || status=0
    [ $status -eq 0 ] || { cat qemu.log; fail "QEMU ended with status $status"; }
}

# beats: the number of the last beat that the guest has printed.
beats () { sed -n 's/^GUEST beat //p' console | tail -n 1; }

# longest_gap: the longest time between two beats, in seconds.
longest_gap () {
    awk '$2 == "GUEST" && $3 == "beat" { if (last && $1 - last > gap) gap = $1 - last; last = $1 }
         END { printf "%.2f\n", gap }' times
}

# check_guest_found: the guest booted with the boot loader's configuration from the
# delta, and its files are those of base and delta.
check_guest_found () {
    grep -E '^GUEST (cmdline .* disk=delta$|/)' console > found || :
    sed 's/^/GUEST /' expected > wanted
    grep -v cmdline found | diff wanted - || fail 'the guest found other files'
    grep -q cmdline found || fail 'the guest was started with the boot configuration of the base'
}

# check_written FILE: the raw disk FILE holds the files of base and delta, and all that
# the guest has written, up to its last beat.
check_written () {
    local part="$1?offset=$((41 << 20))" n sum file
    n=$(beats)
    out () { debugfs -R "cat $1" "$part" 2>/dev/null; }
    # fsck has no offsets.
    dd if="$1" of=part bs=1M skip=41 conv=sparse status=none
    e2fsck -fn part > fsck.log 2>&1 || { cat fsck.log; fail 'the file system is damaged'; }
    rm part
    grep -v missing expected > files
    while read -r file sum; do
        [ "$(out "$file" | sha256sum)" = "$sum  -" ] || fail "$1: $file is another one"
    done < files
    [ "$(out /written.txt | sha256sum)" = "$(seq 1 100000 | sha256sum)" ] || fail "$1: /written.txt differs"
    out /beats.txt | diff <(seq -f 'beat %.0f' 1 "$n") - > beats.diff || { head beats.diff; fail "$1: beats are missing"; }
    [ "$(out /scribble.bin | sha256sum)" = "$(out /scribble.sum)  -" ] || fail "$1: /scribble.bin is not what the guest has written"
    echo "the disk holds what the guest has written, up to beat $n"
}
