#!/bin/bash
# nbdkit killed in the middle of writes, again and again: what was flushed is there, each
# other sector is old or new, and the next start goes on without any repair.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need plugin tool qemu-img nbdsh
# libnbd's module is in the system's Python; another one may be first on the path.
export PATH=/usr/bin:$PATH
nbdsh -c 'import nbd' 2>/dev/null || skip 'nbdsh has no Python module'
ROUNDS=${KILL_ROUNDS:-6}

cat > client.py <<'EOF'
import os, random, struct
seed, disk_sectors = int(os.environ["SEED"]), h.get_size() // 512
random.seed(seed)
log = open("log", "a", buffering=1)
number = seed * 100000
while True:
    number += 1
    what = random.randrange(20)
    if what == 0:
        log.write("F %d\n" % number)
        h.flush()
        log.write("f %d\n" % number)
        continue
    n = random.choice([1, 3, 8, 200])
    first = random.randrange(disk_sectors - n)
    value = 0 if what < 4 else number
    log.write("W %d %d %d\n" % (value, first, n))
    if value:
        h.pwrite(struct.pack("<I", value) * (128 * n), first * 512)
    else:
        h.zero(n * 512, first * 512)
    log.write("w\n")
EOF
cat > verify.py <<'EOF'
import struct, sys
size = h.get_size()
sectors = size // 512
lawful = [{0} for i in range(sectors)]     # what each may hold
ops, flushed, begun, lost = [], 0, 0, set()
lines = open("log").read().split("\n")
answered = []
for line in lines:
    word = line.split()
    if not word:
        continue
    if word[0] == "W":
        ops.append([int(x) for x in word[1:]])
    elif word[0] == "w":
        answered.append(len(ops))
    elif word[0] == "F":
        begun = len(answered)
    elif word[0] == "f":
        flushed = begun
    elif word[0] == "killed":
        # What no flush had covered may be lost, and a later flush does not bring it
        # back; nor was the one under way answered.
        lost.update(range(flushed, len(ops)))
        if len(answered) < len(ops):
            answered.append(None)
done = 0
for i, (value, first, n) in enumerate(ops):
    safe = i < flushed and i not in lost
    for s in range(first, first + n):
        if safe:
            lawful[s] = {value}
        else:
            lawful[s].add(value)
at = 0
while at < sectors:
    n = min(sectors - at, 2048)
    data = h.pread(n * 512, at * 512)
    for i in range(n):
        sector = data[i * 512:(i + 1) * 512]
        value = struct.unpack("<I", bytes(sector[:4]))[0]
        if bytes(sector) != struct.pack("<I", value) * 128 or value not in lawful[at + i]:
            print("sector %d holds %d, lawful is %s" % (at + i, value, sorted(lawful[at + i])[-5:]))
            sys.exit(1)
    at += n
print("%d writes, %d of them behind a flush" % (len(ops), flushed))
EOF

run_killed () {  # FILE ARGUMENT...
    local i pid
    : > log
    for ((i = 1; i <= ROUNDS; i++)); do
        env LD_PRELOAD="${NBDKIT_PRELOAD:-}" nbdkit -f -U "$PWD/k.sock" -P "$PWD/k.pid" "$PLUGIN" "$@" 2> server-log &
        pid=$!
        for ((k = 0; k < 600; k++)); do [ ! -s k.pid ] || break; sleep 0.05; done
        [ -s k.pid ] || fail "it does not start again: $(cat server-log)"
        SEED=$i nbdsh -u "nbd+unix:///?socket=$PWD/k.sock" -c 'exec(open("client.py").read())' > client-log 2>&1 &
        sleep "0.$((RANDOM % 9))$((RANDOM % 10))"
        kill -KILL $pid
        wait $pid 2>/dev/null || :
        wait || :
        rm -f k.pid k.sock
        echo killed >> log
        grep -q '^w' log || continue
        nbdkit -U - "$PLUGIN" "$1" --run 'nbdsh -u "$uri" -c "exec(open(\"verify.py\").read())"' > out 2>&1 ||
            fail "round $i: $(cat out)"
        "$TOOL" check --chain "$1" > check-log 2>&1 || fail "round $i: $(cat check-log)"
    done
    [ -e out ] || fail "nothing was written: $(cat client-log)"
    tail -1 out
}

# sectors are written in whole: before the first write all are zeros
qemu-img create -q -f vmdk base.vmdk 12345k
run_killed base.vmdk write=true
mkdir other; cd other; cp ../client.py ../verify.py .
qemu-img create -q -f vdi disk.vdi 12345k
run_killed disk.vdi write=true
