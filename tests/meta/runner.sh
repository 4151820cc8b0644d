#!/bin/bash
# The runner itself: a failure, a crash, a skip or a timeout must not get lost.
. "$top_srcdir/tests/lib.sh"

mkdir -p top/tests/meta top/tests/unit top/build/tests/unit
cp "$top_srcdir/tests/run" top/tests/
new () { mkdir -p "$(dirname "top/$1")"; { echo '#!/bin/bash'; cat; } > "top/$1"; chmod +x "top/$1"; }
unit () { touch "top/tests/unit/$1.c"; new "build/tests/unit/$1"; }

# run EXPECTED-STATUS EXPECTED-TOTAL [VARIABLE=VALUE...]
run () {
    local expected=$1 total=$2 status=0
    shift 2
    env -u CI TMPDIR="$T" top_srcdir="$T/top" builddir="$T/top/build" FILTER= PLUGIN= SANITIZE= "$@" \
        "$T/top/tests/run" -j 3 > out 2>&1 || status=$?
    [ $status -eq "$expected" ] && [ "$(tail -n 1 out)" = "$total" ] ||
        { cat out; fail "expected status $expected and \"$total\", got $status"; }
}
has () { grep -Eq "$1" out || { cat out; fail "no line matches: $1"; }; }

new tests/meta/nbdkit-version.sh <<<'exit 0'
run 0 '1 passed, 0 failed'

unit test-u <<'END'
printf '%s\n' '[ RUN      ] a' '[       OK ] a' '[ RUN      ] b' '[       OK ] b' '[  PASSED  ] 2 test(s).'
END
new tests/test-ok.sh <<<'cat; touch "$TMPDIR/x"; echo fine'
run 0 '4 passed, 0 failed'

new tests/test-skip.sh <<<'echo noise; echo needs a moon; exit 77'
run 0 '4 passed, 0 failed, 1 skipped'
has '^SKIP  test-skip: needs a moon$'
run 1 '4 passed, 1 failed' CI=true
has '^FAIL  test-skip .*needs a moon$'
echo 'test-skip: no moon here' > top/tests/skips-allowed
run 0 '4 passed, 0 failed, 1 skipped' CI=true

unit test-v <<'END'
printf '%s\n' '[       OK ] a' '[  FAILED  ] b' '[  PASSED  ] 1 test(s).' \
    '[  FAILED  ] 2 test(s), listed below:' '[  FAILED  ] b' '[  FAILED  ] c'
exit 2
END
unit test-w <<<'echo "[       OK ] a"; kill -SEGV $$'
unit test-none <<<'exit 0'
run 1 '6 passed, 4 failed, 1 skipped'
has '^FAIL  unit/test-w .*SEGV'
has '^FAIL  unit/test-none .*no cmocka test ran'
rm top/tests/unit/test-[vwn]*.c

new tests/test-fail.sh <<<'echo the cause; false'
new tests/test-slow.sh <<<'sleep 60'
run 1 '4 passed, 2 failed, 1 skipped' TEST_TIMEOUT=1
has '^FAIL  test-slow .*time limit'
has '\| the cause'

# Built for another nbdkit: nothing else is run.
new tests/meta/nbdkit-version.sh <<<'echo other version; exit 1'
run 1 '0 passed, 1 failed'
has 'Not running'
