# shellcheck shell=bash
# A stand-in for an ESXi host: an ssh server with vim-cmd and vmkfstools that do to a machine
# of two disks what such a host does, and a guest in it that writes all the time.  Sourced behind
# lib.sh, test-chain-disks.sh and drive/hosts.sh.
#
#   start_esxi LOCKS    LOCKS: newest, what the machine writes cannot be opened while it runs;
#                       all, nor can anything that it stands on (as on newer hosts)
#   new_machine N       machine N: vmx (its file), guest_log; it runs
#   end_machine         end it
#   log_is DISK FILE    the guest's log of this disk (0 or 1) is what FILE holds
#   go DIR STEP...      migrate-esxi.sh, to the end; its output is in "out"
#   no REGEX DIR STEP...  it refuses that
#   moved DIR           what lies in DIR is what the guest wrote, and what the machine has

start_esxi () {
    need tool qemu-io nbdcopy flock setsid ssh perl mkimage plugin
    mkdir bin
    ln -s "$TOOL" bin/vmdkdelta
    PATH=$T/bin:$PATH
    script=$top_srcdir/examples/migrate-esxi.sh
    locks=$1 esx=$T/esx
    mkdir -p "$esx/bin" "$esx/vmfs/volumes/ds"
    write_vim_cmd > "$esx/bin/vim-cmd"
    write_vmkfstools > "$esx/bin/vmkfstools"
    chmod +x "$esx"/bin/*
    start_sshd "SetEnv PATH=$esx/bin:$PATH"
    cat > ssh.conf <<X
IdentityFile $T/user
UserKnownHostsFile $T/known
IdentitiesOnly yes
X
    # For migrate-esxi.sh.
    export SSH="ssh -F $T/ssh.conf -o BatchMode=yes" REMOTE="--remote=identity=$T/user --remote=known-hosts=$T/known"
}

# What a host's program does is asked of the machine, which answers when it is done.
write_vim_cmd () {
    cat <<X
#!/bin/bash
exec 8> '$esx/lock'
flock 8
machine=\$(cat '$esx/machine')
ask () {
    rm -f "\$machine/ctl/answer"
    echo "\$*" > "\$machine/ctl/new"
    mv "\$machine/ctl/new" "\$machine/ctl/request"
    until [ -e "\$machine/ctl/answer" ]; do sleep 0.02; done
    cat "\$machine/ctl/answer"
}
case \$1 in
    vmsvc/getallvms)
        echo 'Vmid   Name   File   Guest OS   Version   Annotation'
        echo '3      other  [ds] other/vm.vmx   debian12_64Guest   vmx-19'
        echo "12     The server [ds] \${machine##*/}/vm.vmx   debian12_64Guest   vmx-19" ;;
    vmsvc/power.getstate) echo 'Retrieved runtime info'; cat "\$machine/ctl/power" ;;
    vmsvc/snapshot.get)
        echo 'Get Snapshot:'
        n=0
        while read -r name; do n=\$((n + 1)); printf -- '--Snapshot Name        : %s\n--Snapshot Id        : %s\n' "\$name" \$n; done < "\$machine/ctl/snapshots" ;;
    vmsvc/snapshot.create) echo 'Create Snapshot:'; ask snapshot "\$3" ;;
    vmsvc/snapshot.remove) echo 'Remove Snapshot:'; sed -i "\$3d" "\$machine/ctl/snapshots" ;;
    vmsvc/power.shutdown|vmsvc/power.off) ask off ;;
    vmsvc/power.on) ask on ;;
    *) echo "vim-cmd: \$*" >&2; exit 1 ;;
esac
X
}
write_vmkfstools () {
    cat <<X
#!/bin/bash
case \$1 in
    -U) rm "\$2" "\${2%.vmdk}-flat.vmdk" ;;
    -i) [ ! -e "\$3" ] || { echo 'Failed to clone disk: The file already exists (39).' >&2; exit 255; }
        flat=\${3%.vmdk}-flat.vmdk
        env ${NBDKIT_PRELOAD:+LD_PRELOAD=$NBDKIT_PRELOAD} nbdkit -U - '$PLUGIN' "\$2" parent-path="\${2%/*}/locked" --run 'nbdcopy "\$uri" "'"\$flat"'"' || exit 1
        printf '# Disk DescriptorFile\nversion=1\nCID=%08x\nparentCID=ffffffff\ncreateType="vmfs"\nRW %d VMFS "%s"\n' \
            \$((RANDOM * RANDOM + 77)) \$((\$(stat -c %s "\$flat") / 512)) "\${flat##*/}" > "\$3" ;;
    *) exit 1 ;;
esac
X
}

# ---- The machine ------------------------------------------------------------------

blocks=(2048 1024)      # of 4 KiB
names=(sys data)

# hide FILE...: it cannot be opened any more.  (With a socket in its place sftp-server says
# "Failure", as it does for a file that a host has locked.)
hide () {
    local f
    mkdir -p locked
    for f; do
        [ -e "$f" ] || continue         # a pattern without a file
        mv "$f" locked/
        perl -MSocket -e 'socket my $s, PF_UNIX, SOCK_STREAM, 0; bind $s, sockaddr_un ($ARGV[0]) or die' "$f"
    done
}
unhide () {
    local f
    for f in locked/*; do
        [ ! -e "$f" ] || { rm -f "${f##*/}"; mv "$f" .; }
    done
}

start_guest () {
    local i
    unhide
    rm -f guest.sock guest.pid
    # (nbdkit 1.32 does not free a connection that is open when it is told to stop)
    env ${NBDKIT_PRELOAD:+LD_PRELOAD=$NBDKIT_PRELOAD} ASAN_OPTIONS="${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0" \
        nbdkit -f -U guest.sock -P guest.pid "$PLUGIN" write=true vm.vmx 2>> guest.err &
    guest=$!
    until [ -s guest.pid ]; do kill -0 $guest; sleep 0.02; done
    coproc Q0 { exec qemu-io -f raw 'nbd:unix:guest.sock:exportname=scsi0:0' 2>&1; }
    q=("${Q0[0]}" "${Q0[1]}")
    # bash has one coprocess, as it thinks; of two it only warns.
    { coproc Q1 { exec qemu-io -f raw 'nbd:unix:guest.sock:exportname=scsi0:1' 2>&1; }; } 2> /dev/null
    q+=("${Q1[0]}" "${Q1[1]}")
    # Something is written, so that all is open that will be; then nobody else can.
    for i in 0 1; do guest_writes $i; done
    for i in 0 1; do
        if [ "$locks" = all ]; then hide "${names[i]}"*-flat.vmdk "${names[i]}"*-delta.vmdk
        elif [ -e "${newest[i]%.vmdk}-delta.vmdk" ]; then hide "${newest[i]%.vmdk}-delta.vmdk"; fi
    done
    echo 'Powered on' > ctl/power
}
stop_guest () {
    local i
    for i in 0 1; do echo quit >&"${q[2 * i + 1]}"; done
    kill $guest
    wait $guest || :
    unhide
}

# What the disk has answered goes to the log, and nothing else.
guest_writes () {
    local line block=$((RANDOM % blocks[$1])) pattern=$((++count % 255 + 1))
    echo "write -P $pattern $((block * 4))k 4k" >&"${q[2 * $1 + 1]}"
    while read -r -u "${q[2 * $1]}" line; do
        case $line in *'wrote 4096/4096'*) break ;; *rror*|*failed*) echo "$line" >> guest.err ;; esac
    done
    echo "$block $pattern" >> guest.log$1
}

take_snapshot () {
    local i name
    stop_guest
    for i in 0 1; do
        generation=$((generation + 1))
        name=$(printf '%s-%06d.vmdk' "${names[i]}" $generation)
        # A new delta has the CID of its parent until it is written to.
        cid=$(sed -n 's/^CID=//p' "${newest[i]}")
        delta_file "$name" "$cid" "${newest[i]}" "${blocks[i]}"
        sed "s/\"${newest[i]}\"/\"$name\"/" vm.vmx > vm.vmx.new
        mv vm.vmx.new vm.vmx
        newest[i]=$name
    done
    echo "$1" >> ctl/snapshots
    start_guest
}
delta_file () {  # NAME CID PARENT BLOCKS
    "$MKIMAGE" make cowd "${1%.vmdk}-delta.vmdk" --capacity=$(($4 * 4))K --fill=0
    printf '# Disk DescriptorFile\nversion=1\nCID=%s\nparentCID=%s\nparentFileNameHint="%s"\ncreateType="vmfsSparse"\nRW %d VMFSSPARSE "%s"\n' \
        "$2" "$2" "$3" $(($4 * 8)) "${1%.vmdk}-delta.vmdk" > "$1"
}

run_machine () {
    local request on=1 count=0 generation=0 newest=(sys.vmdk data.vmdk) q=() guest i=0
    start_guest
    touch ctl/up
    while [ ! -e ctl/end ]; do
        if [ -e ctl/request ]; then
            request=$(cat ctl/request)
            rm ctl/request
            case $request in
                snapshot*) take_snapshot "${request#* }" ;;
                off) [ ! "$on" ] || { echo > ctl/answer.new; mv ctl/answer.new ctl/answer
                        # It returns at once; the guest needs its time.
                        for ((i = 0; i < 20; i++)); do guest_writes $((i % 2)); done
                        stop_guest; on=; echo 'Powered off' > ctl/power; continue; } ;;
                on) [ "$on" ] || { on=1; start_guest; } ;;
            esac
            echo > ctl/answer.new
            mv ctl/answer.new ctl/answer
        fi
        if [ "$on" ]; then guest_writes $((++i % 2)); else sleep 0.02; fi
    done
    if [ "$on" ]; then stop_guest; fi
}

new_machine () {
    local i
    machine=$esx/vmfs/volumes/ds/vm$1 vmx=$esx/vmfs/volumes/ds/vm$1/vm.vmx
    mkdir -p "$machine/ctl"
    echo "$machine" > "$esx/machine"
    touch "$machine/ctl/snapshots"
    (
        cd "$machine"
        for i in 0 1; do
            head -c $((blocks[i] * 4096)) /dev/urandom > "${names[i]}-flat.vmdk"
            printf '# Disk DescriptorFile\nversion=1\nCID=%08x\nparentCID=ffffffff\ncreateType="vmfs"\nRW %d VMFS "%s"\n' \
                $((RANDOM * 7 + 100)) $((blocks[i] * 8)) "${names[i]}-flat.vmdk" > "${names[i]}.vmdk"
        done
        cat > vm.vmx <<'X'
.encoding = "UTF-8"
displayName = "The server"
guestOS = "debian12-64"
scsi0:0.present = "TRUE"
scsi0:0.fileName = "sys.vmdk"
scsi0:1.present = "TRUE"
scsi0:1.fileName = "data.vmdk"
X
    )
    (cd "$machine" && run_machine) > "$machine/ctl/out" 2>&1 &
    machine_pid=$!
    until [ -e "$machine/ctl/up" ]; do
        kill -0 $machine_pid || { cat "$machine/ctl/out"; fail 'the stand-in for a machine does not start'; }
        sleep 0.05
    done
}
end_machine () {
    touch "$machine/ctl/end"
    wait $machine_pid || { cat "$machine/ctl/out" "$machine/guest.err"; fail 'the stand-in for a machine'; }
    [ ! -s "$machine/guest.err" ] || { cat "$machine/guest.err"; fail 'the guest had errors'; }
}

# The last that was answered of each block.
log_is () {
    perl -e 'my ($log, $file) = @ARGV; my %last; open my $l, "<", $log or die; while (<$l>) { my ($b, $p) = split; $last{$b} = $p }
        open my $f, "<", $file or die; my $n = 0;
        for (sort { $a <=> $b } keys %last) { seek $f, $_ * 4096, 0; read $f, my $d, 4096;
            $d eq chr ($last{$_}) x 4096 or die "block $_ of $file is not $last{$_}: " . ord ($d) . "\n"; $n++ }
        die "nothing was written\n" unless $n; print "$n blocks are as the guest wrote them\n"' "$machine/guest.log$1" "$2"
}

# ---- The script --------------------------------------------------------------------

# go DIR STEP...: to the end.
go () { bash "$script" "$@" > out 2>&1 || { cat out; fail "status $?: $*"; }; }
# no REGEX DIR STEP...: refused.
no () {
    local status=0
    bash "$script" "${@:2}" > out 2>&1 || status=$?
    [ $status -ne 0 ] || { cat out; fail "not refused: ${*:2}"; }
    grep -Eq -e "$1" out || { cat out; fail "not said: $1"; }
}

moved () {  # DIR
    local i
    start "$PLUGIN" "$vmx"
    for i in 0 1; do
        log_is $i "$1/${names[i]}.img"
        nbdcopy "nbd+unix:///scsi0%3A$i?socket=$sock" want
        same "$1/${names[i]}.img" want
    done
    stop
}
