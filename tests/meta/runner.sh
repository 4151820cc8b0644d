#!/bin/bash
# The runner itself: a failure, a crash, a skip, a timeout or a wrong name must not get
# lost, and the last line is the counts, also where make has the word.
. "${top_srcdir:?run it with make check}/tests/lib.sh"

mkdir -p top/tests/meta top/tests/unit top/build/tests/unit
cp "$top_srcdir/tests/run" top/tests/
new () { mkdir -p "$(dirname "top/$1")"; { echo '#!/bin/bash'; cat; } > "top/$1"; chmod +x "top/$1"; }
unit () { touch "top/tests/unit/$1.c"; new "build/tests/unit/$1"; }

# run EXPECTED-STATUS EXPECTED-TOTAL [VARIABLE=VALUE...] [-- ARGS...]
run () {
    local expected=$1 total=$2 status=0 variables=() command=("$T/top/tests/run" -j 3)
    shift 2
    while [ $# -gt 0 ] && [ "$1" != -- ]; do variables+=("$1"); shift; done
    [ ! -e make-check ] || command=("$T/make-check")
    env -u CI -u MAKEFLAGS -u MAKELEVEL TMPDIR="$T" top_srcdir="$T/top" builddir="$T/top/build" \
        FILTER= PLUGIN= SANITIZE= "${variables[@]}" "${command[@]}" "${@:2}" > out 2>&1 || status=$?
    if [ $status -ne "$expected" ] || [ "$(tail -n 1 out)" != "$total" ]; then
        cat out; fail "expected status $expected and \"$total\", got $status"
    fi
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
has '^SKIP  \[[1-4]/4] test-skip: needs a moon$'
has '^(ok|SKIP) +\[4/4] '
run 1 '4 passed, 1 failed' CI=true
has '^FAIL  [^ ]* test-skip .*needs a moon$'
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
has '^FAIL  [^ ]* unit/test-w .*SEGV'
has '^FAIL  [^ ]* unit/test-none .*no cmocka test ran'
rm top/tests/unit/test-[vwn]*.c

new tests/test-fail.sh <<<'echo the cause; false'
new tests/test-slow.sh <<<'sleep 60'
run 1 '4 passed, 2 failed, 1 skipped' TEST_TIMEOUT=1
has '^FAIL  [^ ]* test-slow .*time limit'
has '\| the cause'
has '^failed: test-fail \(build/test-logs/test-fail\.log\)$'

# Some of them; and names that are none: then nothing runs, and it is a failure.
run 0 '1 passed, 0 failed' -- test-ok
has '^ok    \[1/1] test-ok '
run 1 '0 passed, 2 failed' -- typo test-ok test-o
has '^no test is called typo;'
has '^no test is called test-o;'
new tests/long-moon.sh <<<'exit 0'
run 1 '0 passed, 1 failed' -- long-moon
has '^long-moon is one of the long tests: make check-long TESTS=long-moon$'
run 0 '1 passed, 0 failed' -- --long long-moon

# The longest first.
printf 'test-ok 1.5\ntest-fail 30\n' > top/tests/slow
run 1 '1 passed, 1 failed' -- -j 1 test-ok test-fail
[[ $(grep -E -m 1 '^(ok|FAIL)' out) = *test-fail* ]] || { cat out; fail 'the longest did not come first'; }

# Make adds nothing behind the counts, and fails.
cat > make-check <<'END'
#!/bin/sh
printf 'check:\n\t@"%s/tests/run" --make $$PPID -j 3 $(TESTS)\n' "$top_srcdir" > "$top_srcdir/Makefile"
exec make -f "$top_srcdir/Makefile" TESTS="$TESTS"
END
chmod +x make-check
run 1 '1 passed, 1 failed' TESTS='test-ok test-fail'
run 1 '0 passed, 1 failed' TESTS=typo
run 0 '1 passed, 0 failed' TESTS=test-ok
# Where it does not hear of the failure, it fails in its own way.
status=0
(trap '' QUIT
 TESTS=typo top_srcdir=$T/top builddir=$T/top/build TMPDIR=$T ./make-check) > out 2>&1 || status=$?
[ $status -ne 0 ] || { cat out; fail 'make ended with status 0'; }
has '^0 passed, 1 failed$'
rm make-check

# Built for another nbdkit: nothing else is run.
new tests/meta/nbdkit-version.sh <<<'echo other version; exit 1'
run 1 '0 passed, 1 failed'
has 'Not running'
