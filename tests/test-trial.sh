#!/bin/bash
# The corruption trial (tests/trial/trial.h), a small one: no damage of an image is read
# as something else without an error, no container as a raw base, and no descriptor that is
# only odd is refused.  "make trial N=1000000" is a large one.
. "${top_srcdir:?run it with make check}/tests/lib.sh"

trial=$builddir/tests/trial/trial
n=8000
[ -z "${SANITIZE:-}" ] || n=2000

# no_loss N SEED
no_loss () {
    "$trial" -n "$1" -s "$2" -d "$T" > out || fail "seed $2: $(cat out)"
    tail -n 1 out
    grep -q "^vmdkdelta: $1 damaged disks: .* 0 stuck, 0 silent\$" out || fail "seed $2: $(cat out)"
}
no_loss $n $RANDOM
# Of one seed it is known that all kinds are among so few.
no_loss 3000 2
grep -Eq '^vmdkdelta: of these [1-9][0-9]+ were odd, and [1-9][0-9]* had a container' out || fail "$(cat out)"

# Would it be noticed?  With zeros for what cannot be read it has to fail.
if "$trial" -n 2000 -z -d "$T" > out; then fail 'zeros in the place of errors were not noticed'; fi
grep -Eq '^vmdkdelta: 2000 damaged disks: .* [1-9][0-9]* silent$' out || fail "$(tail -n 1 out)"
[ -z "$(ls -d "$T"/trial.* 2>/dev/null)" ] || fail "images were left behind: $(ls "$T")"
