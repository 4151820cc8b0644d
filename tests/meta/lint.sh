#!/bin/bash
# "make lint" finds nothing only where its programs have looked: one that crashes, or that
# cannot compile a file, is a finding.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need pkg-config

mkdir bin
# program NAME: what it does is on stdin.
program () { { echo '#!/bin/sh'; cat; } > "bin/$1"; chmod +x "bin/$1"; }
lint () { PATH=$T/bin:$PATH "$top_srcdir/scripts/lint" lib/base/err.c lib/base/bytes.c; }

for name in clang-tidy cppcheck gcc; do program $name <<< 'exit 0'; done
lint > out || { cat out; fail 'nothing is found, and that fails'; }
[ "$(grep -c ': no findings$' out)" = 3 ] || { cat out; fail 'not three programs'; }

for name in clang-tidy cppcheck gcc; do
    title=$name
    [ $name != gcc ] || title='gcc -fanalyzer'
    for how in 'kill -SEGV $$' 'exit 1' 'echo "lib/x.c:1:1: fatal error: y.h: No such file or directory"' \
               'echo "lib/x.c:1:1: warning: something"'; do
        program $name <<< "$how"
        expect_fail "^$title: FINDINGS" lint
    done
    program $name <<< 'exit 0'
done
