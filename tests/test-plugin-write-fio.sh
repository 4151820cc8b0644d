#!/bin/bash
# fio writes through the plugin: 16 jobs, whose blocks lie in the same grains and tables,
# and verifies what it reads back, also after nbdkit was started again.  nbdkit is killed in
# the middle, goes on without any repair, and check finds nothing.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need plugin tool fio qemu-img
[[ $(fio --enghelp) = *$'\n'*nbd* ]] || skip 'this fio has no nbd engine'
KILLS=${FIO_KILLS:-3}

# Blocks of 5 sectors by turns: no job has a grain for itself.
block=2560 blocks=400
job=(--rw=write:$((15 * block)) --bs=$block --iodepth=4 --verify=crc32c --verify_fatal=1
    --randseed=7 --thread --size=$((16 * block * blocks)) --io_size=$((block * blocks)))

# run_fio ARGUMENT...: 16 jobs
run_fio () {
    local all=() i
    for ((i = 0; i < 16; i++)); do
        all+=("--name=job$i" --offset=$((i * block)) --ioengine=nbd "--uri=$uri" "${job[@]}" "$@")
    done
    fio --output=fio.log "${all[@]}"
}
serve_it () { start "$PLUGIN" file="$1" write=true; }

for disk in disk.vmdk disk.vdi split.vmdk; do
    case $disk in
        split.vmdk) qemu-img create -q -f vmdk -o subformat=twoGbMaxExtentSparse $disk 64M ;;
        *) qemu-img create -q -f "${disk##*.}" $disk 64M ;;
    esac
    serve_it $disk
    run_fio --do_verify=1 > out 2>&1 || { fail "$disk: $(cat out; grep -v "^ " fio.log)"; }
    stop
   # in a new server
    serve_it $disk
    run_fio --verify_only=1 > out 2>&1 || { fail "$disk, started again: $(cat out; grep -v "^ " fio.log)"; }
    stop
    "$TOOL" check $disk > out 2>&1 || fail "$disk: $(cat out)"
    # killed
    for ((k = 0; k < KILLS; k++)); do
        serve_it $disk
        pid=$server_pid
        run_fio --do_verify=0 > out 2>&1 &
        sleep 0.$((RANDOM % 5))$((RANDOM % 10))
        kill -KILL "$pid"
        wait $! || :
        _end || :
        "$TOOL" check $disk > out 2>&1 || fail "$disk, killed: $(cat out)"
    done
    serve_it $disk
    run_fio --do_verify=1 > out 2>&1 || { fail "$disk, after kills: $(cat out; grep -v "^ " fio.log)"; }
    stop
    "$TOOL" check $disk > out 2>&1 || fail "$disk: $(cat out)"
    qemu-img check -q $disk > out 2>&1 || [ "${disk#split}" != $disk ] || fail "$disk: qemu-img: $(cat out)"
    echo "verified: $disk"
done
