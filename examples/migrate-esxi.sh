#!/bin/bash
# Move a virtual machine from an ESXi host to this one, over ssh, in steps that can be
# repeated.  docs/migrate.md explains each step, and what to do when one of them fails.
#
#   migrate-esxi.sh DIR prepare ssh://root@HOST/vmfs/volumes/DS/VM/VM.vmx DISK=TARGET...
#   migrate-esxi.sh DIR STEP...
#
#   DIR       a directory for the plan, the notes of what the targets hold, and the log
#   DISK      scsi0:0 and so on: all disks of the machine (vmdkdelta info tells them)
#   TARGET    a raw file (which is made) or a block device
#
# The steps, in their order:
#
#   prepare   look at everything that could go wrong later, and write the plan
#   snapshot  take a snapshot, without memory: what is below it is frozen
#   base      copy what is frozen; where the host does not let it be read, clone it there
#   sync      more snapshots, and what is new since, until that is little
#   stop      shut the guest down and wait; it is never switched off unless FORCE_OFF=yes
#   final     write the rest, and verify what was written
#   compare   compare all of source and target (takes as long as reading the disk)
#   start     run the command START
#
#   run       snapshot, base and sync: the machine goes on
#   cutover   stop, final and start: the downtime
#   status    what has been done
#   back      start the old machine again (before anything has run on the new one)
#   cleanup   say what is left on the host; with REMOVE=yes remove the snapshots and
#             clones that were made here, and no others
#
# If anything stops (an error, a signal, a power failure), run the same step again.
#
# Environment, kept in the plan by prepare:
#
#   SSH       the ssh command (default "ssh -o BatchMode=yes"); old hosts want
#             "ssh -o BatchMode=yes -o HostKeyAlgorithms=+ssh-rsa"
#   REMOTE    options of vmdkdelta for that host: --remote=KEY=VALUE...
#   START     what starts the new machine; it finds the targets in TARGET_scsi0_0 ...
#
# and for each run:
#
#   ROUNDS=5  snapshots that "sync" takes at most    SMALL=67108864  bytes that are little
#   CLONE=yes clone in any case                      WAIT=600  seconds for the shutdown
#   COLD=yes  "stop" although nothing was copied     MIN_FREE=2048  MiB on the datastore
set -euo pipefail
shopt -s inherit_errexit

say () { printf '%s %s\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$*" | tee -a "$dir/log"; }
die () { printf 'migrate-esxi: %s\n' "$*" >&2; exit 1; }
usage () { sed -n '2,/^set /{ s/^# \{0,1\}//; /^set /d; p }' "$0"; exit "$1"; }

case ${1:-} in -h|--help) usage 0 ;; esac
[ $# -ge 2 ] || usage 2 >&2
mkdir -p "$1"
dir=$(realpath "$1")
shift

# One at a time.  Programs that a killed run has left do not hold the lock (9>&-).
exec 9> "$dir/lock"
flock -w 60 9 || die "another migrate-esxi.sh works in $dir"

# keep NAME: standard input becomes this file, complete or not at all.
keep () { cat > "$dir/.$1.new" && sync "$dir/.$1.new" && mv "$dir/.$1.new" "$dir/$1"; }
mark () { date +%s.%N | keep "done.$1"; }
done_ () { [ -e "$dir/done.$1" ]; }

# ---- The host ---------------------------------------------------------------------

quote () { local w; for w; do printf " '%s'" "${w//\'/\'\\\'\'}"; done; }
# One login for many commands, where the name of its socket is short enough.
on_host () {
    local share=()
    if [ ${#dir} -lt 80 ]; then share=(-o ControlMaster=auto -o ControlPath="$dir/ssh" -o ControlPersist=60); fi
    # shellcheck disable=SC2086,SC2029  # SSH is several words
    $SSH "${share[@]}" ${port:+-p "$port"} "$login" "$(quote "$@")" < /dev/null 9>&-
}
vim () { on_host vim-cmd "$@"; }
tool () { # shellcheck disable=SC2086  # REMOTE too
    vmdkdelta "$1" $REMOTE "${@:2}" < /dev/null 9>&-; }

# split_uri URI: sets login, port, vmx, place (its directory), base_uri.
split_uri () {
    [[ $1 =~ ^(ssh|sftp)://([^/:]+)(:([0-9]+))?(/.*\.vmx)$ ]] || die "$1: give ssh://root@HOST/vmfs/volumes/DS/VM/VM.vmx"
    uri=$1 login=${BASH_REMATCH[2]} port=${BASH_REMATCH[4]} vmx=${BASH_REMATCH[5]}
    place=${vmx%/*} base_uri=${1%/*}
}

power () {
    local text
    text=$(vim vmsvc/power.getstate "$id") || die 'the host does not tell the state of the machine'
    case $text in *'Powered on'*) echo on ;; *'Powered off'*) echo off ;; *Suspended*) echo suspended ;;
        *) die "the state of the machine is not understood: $text" ;; esac
}

# What the disks use now: NODE=FILE lines.
files_now () {
    on_host cat "$vmx" | tr -d '\r' |
        sed -nE 's/^ *([A-Za-z]+[0-9]+:[0-9]+)\.[fF][iI][lL][eE][nN][aA][mM][eE] *= *"(.*\.vmdk)" *$/\L\1\E=\2/p' | sort
}

# ---- The plan ---------------------------------------------------------------------

load_plan () {
    local key value
    [ -e "$dir/plan" ] || die "there is no plan in $dir: begin with prepare"
    SSH='' REMOTE='' START='' nodes=() targets=()
    while read -r key value; do
        case $key in
            uri) split_uri "$value" ;; id) id=$value ;;
            ssh) SSH=$value ;; remote) REMOTE=$value ;; start) START=$value ;;
            disk) nodes+=("${value%%=*}") targets+=("${value#*=}") ;;
            *) die "$dir/plan: what is '$key'?" ;;
        esac
    done < "$dir/plan"
    [ ${#nodes[@]} -gt 0 ] || die "$dir/plan has no disk, so there is nothing to move"
}

# ---- prepare ----------------------------------------------------------------------

# find_id: the machine whose file this is.
find_id () {
    local rest=${vmx#/vmfs/volumes/} list
    rest=${rest#*/volumes/}
    list=$(vim vmsvc/getallvms) || die "vim-cmd does not work on $login: is this an ESXi host?"
    id=$(awk -v want="] ${rest#*/}" 'index($0, want " ") || substr($0, length($0) - length(want) + 1) == want { print $1 }' <<< "$list")
    [[ $id =~ ^[0-9]+$ ]] || die "$vmx is no machine that the host knows, or several are called so: $list"
}

check_disks () {
    local node list given=" ${nodes[*]} " modes
    list=$(files_now)
    [ "$list" ] || die "$vmx has no disks"
    while IFS='=' read -r node _; do
        [[ $given = *" $node "* ]] || die "the machine has a disk $node too: give all of them"
    done <<< "$list"
    for node in "${nodes[@]}"; do
        grep -q "^$node=" <<< "$list" || die "the machine has no disk $node: $list"
    done
    modes=$(on_host cat "$vmx" | grep -i '\.mode *= *"independent' || :)
    [ -z "$modes" ] || die "independent disks are not frozen by snapshots, so they cannot be moved while the machine runs: $modes"
}

check_host () {
    local free count state
    on_host true || die "ssh to $login does not work (old hosts: SSH=\"ssh -o BatchMode=yes -o HostKeyAlgorithms=+ssh-rsa\")"
    find_id
    state=$(power)
    [ "$state" != suspended ] || die 'the machine is suspended: what its guest has in memory would be lost'
    check_disks
    count=$(vim vmsvc/snapshot.get "$id" | grep -c 'Snapshot Id' || :)
    [ "$count" -lt 24 ] || die "the machine has $count snapshots already, and 32 is the limit: delete some first"
    free=$(on_host df -k "$place" | awk 'END { print int($(NF - 2) / 1024) }')
    [ "$free" -ge "${MIN_FREE:-2048}" ] || die "$place has $free MiB left: a snapshot that grows stops the machine"
    say "the machine is $state, has $count snapshots, and its datastore $free MiB free"
    say "guest: $(on_host grep -i '^guestOS ' "$vmx" || echo unknown) (Linux usually has what it needs for KVM; for others run virt-v2v on the copy before it starts)"
}

step_prepare () {
    local d i
    [ $# -ge 2 ] || usage 2 >&2
    [ ! -e "$dir/done.final" ] || die "$dir is of a move that is over: use another directory"
    split_uri "$1"
    SSH=${SSH:-ssh -o BatchMode=yes} REMOTE=${REMOTE:-} nodes=() targets=()
    for d in vmdkdelta nbdkit ssh flock; do command -v "$d" > /dev/null || die "$d is missing"; done
    for d in "${@:2}"; do
        [[ $d =~ ^[a-z]+[0-9]+:[0-9]+=/ ]] || die "$d: give DISK=TARGET, such as scsi0:0=/dev/vg/vm, with an absolute path"
        nodes+=("${d%%=*}") targets+=("${d#*=}")
    done
    check_host
    for i in "${!nodes[@]}"; do
        d=${targets[i]}
        [ -b "$d" ] || [ -d "${d%/*}" ] || die "$d: there is no such device or directory"
        [ ! -b "$d" ] || [ -w "$d" ] || die "$d cannot be written"
    done
    # Files that a running machine has locked cannot be read now, and this says so too.
    tool info --json "$uri" > "$dir/machine.json" 2> "$dir/errors" ||
        say "not all can be read now: $(sed -n 's/.*"reason": "\(.*\)".*/\1/p' "$dir/machine.json" | sort -u | head -n 4 | tr '\n' ' ')"
    {
        echo "uri $uri"; echo "id $id"; echo "ssh $SSH"; echo "remote $REMOTE"; echo "start ${START:-}"
        for i in "${!nodes[@]}"; do echo "disk ${nodes[i]}=${targets[i]}"; done
    } | keep plan
    say "prepared: ${#nodes[@]} disks of $uri"
}

# ---- While the machine runs -------------------------------------------------------

# A snapshot.  If one was begun and the files have changed since, it is there.
new_snapshot () {
    local i before now
    now=$(files_now)
    if [ ! -e "$dir/snapshot.before" ]; then keep snapshot.before <<< "$now"; fi
    before=$(cat "$dir/snapshot.before")
    if [ "$now" = "$before" ]; then
        vim vmsvc/snapshot.create "$id" vmdkdelta-move 'made by migrate-esxi.sh' 0 0 > /dev/null ||
            die 'the snapshot cannot be taken'
        for ((i = 0; ; i++)); do
            now=$(files_now)
            [ "$now" = "$before" ] || break
            [ $i -lt 300 ] || die 'the snapshot was asked for, and does not come'
            sleep 0.5
        done
    fi
    # What it froze: the last of these is what "base" clones.
    cp "$dir/snapshot.before" "$dir/frozen.new"
    mv "$dir/frozen.new" "$dir/frozen"
    rm "$dir/snapshot.before"
    say "snapshot: the machine writes to $(sed 's/.*=//' <<< "$now" | tr '\n' ' ')"
}

step_snapshot () {
    if done_ snapshot; then return; fi
    new_snapshot
    mark snapshot
}

# sync_disk I OPTION...: its result is in "result".
sync_disk () {
    local options=("${@:2}" --disk="${nodes[$1]}=${targets[$1]}")
    # What files hold is noted beside them; what devices hold, here.
    if [ -b "${targets[$1]}" ]; then options+=(--state="$dir"); fi
    if result=$(tool sync --json --log="$dir/log" "${options[@]}" "$uri" 2> "$dir/errors"); then return; fi
    cat "$dir/errors" >&2
    return 1
}
written () { sed -n 's/.*"written-bytes": *\([0-9]*\).*/\1/p' <<< "$result"; }

# A clone that was not completed is made again.
clone () {
    local node=${nodes[$1]} file to=$place/vmdkdelta-clone
    if done_ "clone.$node"; then
        file=$(cat "$dir/done.clone.$node")
    else
        file=$(sed -n "s/^$node=//p" "$dir/frozen")
        [ "$file" ] || die "which file of $node was frozen?"
        case $file in /*) ;; *) file=$place/$file ;; esac
        say "clone: $node from $file, on the host"
        on_host mkdir -p "$to"
        on_host vmkfstools -U "$to/${node/:/_}.vmdk" > /dev/null 2>&1 || :
        on_host vmkfstools -i "$file" "$to/${node/:/_}.vmdk" -d thin > /dev/null || die "the host cannot clone $file"
        keep "done.clone.$node" <<< "$file"
    fi
    copy=--copy=${uri%%"$vmx"}$file=$base_uri/vmdkdelta-clone/${node/:/_}.vmdk
}

step_base () {
    local i
    ! done_ base || return 0
    done_ snapshot || die 'take the snapshot first'
    for i in "${!nodes[@]}"; do
        ! done_ "base.${nodes[i]}" || continue
        copy=
        if [ "${CLONE:-}" = yes ] || done_ "clone.${nodes[i]}"; then
            clone "$i"
        elif sync_disk "$i" --dry-run; then :
        else
            # Newer hosts lock all files of a machine that runs, and say so in many ways.
            say "the frozen files of ${nodes[i]} cannot be read while the machine runs"
            clone "$i"
        fi
        sync_disk "$i" ${copy:+"$copy"} || die "base: ${nodes[i]} is not complete: run the same again"
        mark "base.${nodes[i]}"
        say "base: ${nodes[i]}, $(written) bytes were written"
    done
    mark base
}

step_sync () {
    local round i n
    done_ base || die 'copy the base first'
    ! done_ final || die 'the end has been written: there is nothing left to do here'
    for ((round = 1; round <= ${ROUNDS:-5}; round++)); do
        new_snapshot
        n=0
        for i in "${!nodes[@]}"; do
            if ! sync_disk "$i"; then
                ! grep -q 'half written' "$dir/errors" || die 'sync: run the same again'
                say 'sync: what is new cannot be read while the machine runs: all of it is left for "final"'
                return 0
            fi
            n=$((n + $(written)))
        done
        say "sync: round $round, $n bytes were new"
        [ $n -gt "${SMALL:-67108864}" ] || return 0
    done
    say 'sync: the guest writes faster than that: the downtime will be as long as the last round'
}

# ---- The downtime -----------------------------------------------------------------

not_started () { ! done_ start || die "the new machine was started: $1"; }
must_be_off () {
    local state
    state=$(power)
    [ "$state" = off ] || die "the machine is $state: $1"
}

step_stop () {
    local i state
    if ! done_ base && [ "${COLD:-}" != yes ]; then die 'nothing has been copied yet (COLD=yes stops the machine all the same)'; fi
    state=$(power)
    if [ "$state" = on ]; then
        done_ stop.begin || mark stop.begin
        say 'stop: asking the guest to shut down'
        vim vmsvc/power.shutdown "$id" > /dev/null || die 'the guest cannot be asked (no VMware tools in it?): shut it down from inside, and run this again'
        for ((i = 0; ; i++)); do
            state=$(power)
            [ "$state" != off ] || break
            if [ $i -ge $((${WAIT:-600} * 4)) ]; then
                [ "${FORCE_OFF:-}" = yes ] || die "the guest has not shut down in ${WAIT:-600} s; nothing was forced.  Run stop again, or with FORCE_OFF=yes"
                say 'stop: switching it off, as asked'
                vim vmsvc/power.off "$id" > /dev/null || die 'it cannot be switched off'
            fi
            sleep 0.25
        done
    fi
    [ "$state" = off ] || die "the machine is $state"
    if ! done_ stop; then mark stop; fi
    say 'stop: the machine is off'
}

step_final () {
    local try n=0 before after i
    not_started 'its disks are not to be written'
    must_be_off 'stop it first'
    before=$(date +%s.%N)
    for try in 1 2 3 0; do
        n=0
        for i in "${!nodes[@]}"; do
            sync_disk "$i" --final --verify || { n=-1; break; }
            n=$((n + $(written)))
        done
        [ $n -lt 0 ] || break
        # A host takes a while to unlock files.
        [ $try -gt 0 ] || die 'final: not complete: run the same again, or start the old machine with "back"'
        sleep $try
    done
    # Somebody may have started it meanwhile.
    must_be_off 'it was started while it was read.  Stop it, and run final again'
    after=$(date +%s.%N)
    if ! done_ final; then mark final; fi
    awk -v a="$before" -v b="$after" -v n="$n" 'BEGIN { printf "%.2f %d\n", b - a, n }' | keep final.seconds
    say "final: $n bytes were written, in $(cut -d' ' -f1 "$dir/final.seconds") s"
}

step_compare () {
    local i file now
    done_ final || die 'compare comes after final'
    not_started 'its disks are different now'
    must_be_off 'what it writes is different'
    now=$(files_now)
    for i in "${!nodes[@]}"; do
        file=$(sed -n "s/^${nodes[i]}=//p" <<< "$now")
        case $file in /*) ;; *) file=$place/$file ;; esac
        tool compare "${uri%%"$vmx"}$file" "${targets[i]}" || die "${nodes[i]}: ${targets[i]} is not what the machine has"
    done
    say 'compare: all disks are equal'
}

step_start () {
    local i t
    done_ final || die 'start comes after final'
    must_be_off 'two of them must not'
    if done_ start; then say 'start: it was started before'; return; fi
    for i in "${!nodes[@]}"; do
        t=TARGET_${nodes[i]/:/_}
        export "$t=${targets[i]}"
    done
    # Before the command: what it does to the disks cannot be known if we are killed.
    mark start
    if [ "$START" ]; then bash -c "$START" 9>&- ||
        die "the command failed: $START.  If the guest has not run, remove $dir/done.start and run start again"; fi
    report
    if [ -z "$START" ]; then say "start: no command is in the plan; the disks are ${targets[*]}, raw"; fi
}

report () {
    local t=(0 0 0) i=0 s
    for s in stop.begin stop start; do
        if done_ $s; then t[i]=$(cat "$dir/done.$s"); fi
        i=$((i + 1))
    done
    [ "${t[0]}" != 0 ] || return 0
    say "downtime: $(awk -v a="${t[0]}" -v b="${t[1]}" -v c="${t[2]}" 'BEGIN { printf "%.2f s until the guest was off, %.2f s until the new one could start", b - a, c - b }')"
}

# ---- Afterwards -------------------------------------------------------------------

step_back () {
    local state
    not_started "what it wrote is only there.  If that may be lost, stop it, remove $dir/done.start and run this again"
    state=$(power)
    if [ "$state" = on ]; then say 'back: the old machine runs'; return; fi
    rm -f "$dir"/done.{stop.begin,stop,final}
    vim vmsvc/power.on "$id" > /dev/null || die 'the old machine does not start'
    say 'back: the old machine was started.  Go on with sync when you like'
}

step_cleanup () {
    local n list
    list=$(vim vmsvc/snapshot.get "$id" |
        awk '/Snapshot Name/ { ours = /: *vmdkdelta-move *$/ } /Snapshot Id/ && ours { print $NF }' | sort -rn)
    say "cleanup: snapshots of ours on the host: ${list//$'\n'/ }"
    if [ "${REMOVE:-}" = yes ]; then
        done_ start || die 'the new machine has not been started: its source is kept'
        for n in $list; do vim vmsvc/snapshot.remove "$id" "$n" > /dev/null || die "snapshot $n cannot be removed"; done
        for n in "${nodes[@]}"; do
            ! done_ "clone.$n" || on_host vmkfstools -U "$place/vmdkdelta-clone/${n/:/_}.vmdk" > /dev/null || :
            rm -f "$dir/done.clone.$n"
        done
        on_host rmdir "$place/vmdkdelta-clone" 2> /dev/null || :
        say 'cleanup: removed'
    else
        say "cleanup: nothing was removed (REMOVE=yes does that); clones are in $place/vmdkdelta-clone, if there are any"
    fi
}

step_status () {
    local s
    for s in snapshot base stop final start; do
        if done_ $s; then echo "$s: $(date -u -r "$dir/done.$s" +%Y-%m-%dT%H:%M:%SZ)"; else echo "$s: not yet"; fi
    done
    echo "machine: $(power)"
}

if [ "$1" = prepare ]; then
    shift
    step_prepare "$@"
    exit
fi
for step; do
    case $step in
        snapshot|base|sync|stop|final|compare|start|back|cleanup|status|run|cutover) ;;
        *) die "there is no step '$step' (see --help)" ;;
    esac
done
load_plan
for step; do
    case $step in
        run) step_snapshot; step_base; step_sync ;;
        cutover) step_stop; step_final; step_start ;;
        *) "step_$step" ;;
    esac
done
