#!/bin/bash
# examples/migrate-esxi.sh moves a machine of two disks from a stand-in for an ESXi host, while
# a guest in it writes all the time.  It is killed at random moments and run again; what the guest
# was told is written is on the new disks.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/test-chain-disks.sh"
. "$top_srcdir/tests/drive/hosts.sh"
. "$top_srcdir/tests/drive/esxi.sh"
kills=${MIGRATE_KILLS:-2}

start_esxi newest
new_machine 1
m=$T/move1
mkdir "$m"
plan=("$ssh$vmx" "scsi0:0=$m/sys.img" "scsi0:1=$m/data.img")
no 'begin with prepare' "$m" run
no 'a disk scsi0:1 too' "$m" prepare "${plan[@]:0:2}"
no 'no disk scsi0:2' "$m" prepare "${plan[@]}" "scsi0:2=$m/x.img"
no 'give DISK=TARGET' "$m" prepare "${plan[0]}"  sys.img
no 'no machine that the host knows' "$m" prepare "$ssh${vmx%/*}/other.vmx" "${plan[@]:1}"
MIN_FREE=999999999 no 'MiB left' "$m" prepare "${plan[@]}"
# What the command START finds.
START="test -s \$TARGET_scsi0_0 && echo \$TARGET_scsi0_1 > $T/started" go "$m" prepare "${plan[@]}"
no 'nothing has been copied' "$m" stop
no 'the machine is on: stop it' "$m" final
no 'comes after final' "$m" start

# ---- Killed at random moments -----------------------------------------------------

RANDOM=${MIGRATE_SEED:-$$}
killed=0 round=1
export SMALL=100000 ROUNDS=2
while :; do
    setsid bash "$script" "$m" run cutover > out 2>&1 &
    pid=$!
    ms=$((RANDOM % ${MIGRATE_MS:-1500} + 50))
    for ((; ms > 0; ms -= 10)); do
        kill -0 $pid 2> /dev/null || break
        sleep 0.01
    done
    if [ $killed -lt $kills ] && kill -KILL -- -$pid 2> /dev/null; then
        wait $pid 2> /dev/null || :
        killed=$((killed + 1))
        continue
    fi
        wait $pid || { cat out; fail "round $round, after $killed kills"; }
    moved "$m"
    [ "$(cat started)" = "$m/data.img" ] || fail 'the new machine was not started'
    grep -h -e 'downtime:' -e 'final: .* s$' "$m/log" | tail -n 2
    no 'was started' "$m" final
    no 'was started' "$m" back
    end_machine
    [ $killed -lt $kills ] || break
    # It came to the end before it was killed often enough: another machine.
    round=$((round + 1)) m=$T/move$round
    rm -f started
    new_machine $round
    START="test -s \$TARGET_scsi0_0 && echo \$TARGET_scsi0_1 > $T/started" \
        go "$m" prepare "$ssh$vmx" "scsi0:0=$m/sys.img" "scsi0:1=$m/data.img"
done
echo "$killed kills, $round machines"
