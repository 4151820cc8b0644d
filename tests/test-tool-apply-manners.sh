#!/bin/bash
# Options, JSON, progress, silence, exit statuses of apply.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need tool mkimage perl nbdkit:filter:delay

"$MKIMAGE" make cowd a-x.vmdk --capacity=16M --runs=16 --fill=40 --descriptor=a.vmdk \
    --parent=base.vmdk --parent-cid=12345678 --cid=9abcdef0
head -c 16M /dev/urandom > original
fresh original target

# ---- Wrong usage: status 2, nothing done ------------------------------------------

usage () {
    local status=0
    "$TOOL" apply "$@" > out 2> err || status=$?
    [ $status = 2 ] || { cat out err; fail "status $status instead of 2: $*"; }
    [ ! -s out ] || fail "something on stdout: $*"
    grep -q 'vmdkdelta apply --help' err || fail "no way to the help: $*"
    same original target
}
usage
usage a.vmdk
usage --threads=0 a.vmdk target
usage --threads=65 a.vmdk target
usage --threads=x a.vmdk target
usage --threads=-1 a.vmdk target
usage --threads=4x a.vmdk target
usage --threads= a.vmdk target
usage --progress=xml a.vmdk target
usage --undo
usage --nonsense a.vmdk target

# ---- Silence ------------------------------------------------------------------------

"$TOOL" apply --quiet --verify --undo=undo.vmdk a.vmdk target > out 2> err
[ ! -s out ] || fail "--quiet: $(cat out)"
! grep -v 'warning' err || fail "--quiet: errors"
"$TOOL" apply --quiet undo.vmdk target > out 2>&1
[ ! -s out ] || fail "--quiet, without a warning: $(cat out)"
same original target

# Said without it: files, figures, and that it can be repeated.
"$TOOL" apply a.vmdk target > out 2> err
for what in '^delta  *a.vmdk \(COWD\)' '^target  *target, 16 MiB' '^writes .* in [0-9]+ runs' '^zeroes ' \
    'run the same command again' '^done .*flushed'; do
    grep -Eq "$what" out || { cat out; fail "not said: $what"; }
done
! grep -v warning err || fail "a bar, though stderr is no terminal"

# ---- JSON -----------------------------------------------------------------------------

# valid FILE: print KEY=VALUE lines, sorted.
valid () {
    perl -MJSON::PP -e 'local $/; my $j = decode_json (<STDIN>);
        print "$_=", (ref $j->{$_} ? ($j->{$_} ? "true" : "false") : $j->{$_}), "\n" for sort keys %$j' < "$1"
}
"$TOOL" apply --json --verify a.vmdk target > out 2> err
valid out > keys
grep -qx 'written=false' keys && grep -qx 'already-there=true' keys || { cat keys; fail 'applied again'; }
fresh original target
"$TOOL" apply --json --verify a.vmdk target > out 2> err
valid out > keys
grep -qx 'verified=true' keys && grep -qx 'written=true' keys && grep -qx 'already-there=false' keys && grep -qx 'size=16777216' keys &&
    grep -qx 'links=1' keys && grep -qx 'target=target' keys || { cat keys; fail "--json"; }
fresh original target
"$TOOL" apply --json --dry-run --verify a.vmdk target > out 2> err
valid out > keys
grep -qx 'verified=false' keys && grep -qx 'written=false' keys || { cat keys; fail "--json --dry-run"; }
# A name that JSON has to quote.
name=$'t "quoted"\\\n\x01'
fresh original "$name"
"$TOOL" apply --json a.vmdk "$name" > out 2> err
valid out > /dev/null
"$TOOL" apply a.vmdk "$name" > out 2> err
! grep -q $'\x01' out err || fail "a control character is printed"

# ---- Progress ---------------------------------------------------------------------------

fresh original target
start --filter=delay file target delay-write=20ms
"$TOOL" apply --quiet --progress=json --threads=1 a.vmdk "$uri" > out 2> progress
stop
perl -MJSON::PP -e '
    my ($n, $last, $t, $j) = (0, -1, -1);
    while (<STDIN>) {
        next if /warning/;
        $j = decode_json ($_);
        $j->{progress} eq "applying" or die "what: $_";
        $j->{done} >= $last && $j->{done} <= $j->{total} or die "done: $_";
        $j->{seconds} >= $t or die "seconds: $_";
        $n == 0 || $j->{done} == $j->{total} || $j->{seconds} - $t >= 0.9 or die "more than once a second: $_";
        ($last, $t) = ($j->{done}, $j->{seconds}); $n++;
    }
    $n >= 2 && $j->{done} == $j->{total} or die "$n lines, the last one at $j->{done} of $j->{total}";
    print "$n lines of progress in $t seconds\n"' < progress || { cat progress; fail "--progress=json"; }
[ ! -s out ] || fail "--progress=json: something on stdout"

# It is for all that takes long.
rm -f undo.vmdk
fresh original target
"$TOOL" apply --quiet --progress=json --verify --undo=undo.vmdk a.vmdk target 2>&1 |
    grep -o '"progress":"[a-z]*"' | uniq > out
diff out <(printf '"progress":"%s"\n' saving applying verifying)

# On a terminal: a bar.
if have_terminal; then
    fresh original target
    start --filter=delay file target delay-write=3ms
    script -qec "$(printf '%q ' "$TOOL" apply a.vmdk "$uri")" /dev/null < /dev/null > out
    stop
    grep -q 'applying 100% \[#' out || { cat -v out | tail -5; fail "no bar on a terminal"; }
else
    echo "not tried: there is no terminal to be had: a bar on one"
fi

# ---- A full disk under stdout ---------------------------------------------------------------

status=0
"$TOOL" apply --json --dry-run a.vmdk target > /dev/full 2> err || status=$?
[ $status = 1 ] || fail "status $status with a full stdout"
