#!/bin/bash
# What is written is what the deltas hold, nothing more: an NBD target tells
# each request.  Long zeros come as write-zeroes without data.  A sparse target
# stays sparse.  A dry run writes nothing, and its figures are what is then done.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need tool mkimage perl nbdkit:filter:log nbdinfo

make () {  # FORMAT OPTIONS...
    "$MKIMAGE" make "$1" "$1-x.vmdk" --capacity=32M "${@:2}" --descriptor="$1.vmdk" \
        --parent=base.vmdk --parent-cid=12345678 --cid=9abcdef0
}
make cowd --fill=40 --runs=8
make kdmv --fill=40 --zero=40 --runs=3
make stream --fill=40
make sesparse --fill=40 --zero=30 --unmapped=20 --runs=32

# ranges LETTERS: of the requests logged, sorted and joined, "FROM TO".
cat > ranges.pl <<'END'
my ($what, @r) = shift;
while (<>) {
    next unless / (Write|Zero|Trim) id=\d+ offset=0x([0-9a-f]+) count=0x([0-9a-f]+)/;
    my ($op, $from, $n) = ($1, hex $2, hex $3);
    next unless ($op eq "Write") == ($what eq "data") || $what eq "all";
    push @r, [$from, $from + $n];
}
@r = sort { $a->[0] <=> $b->[0] } @r;
my @j;
for (@r) {
    if (@j && $_->[0] < $j[-1][1]) { print "twice: $_->[0]\n" }
    if (@j && $_->[0] <= $j[-1][1]) { $j[-1][1] = $_->[1] if $_->[1] > $j[-1][1] }
    else { push @j, $_ }
}
print "$_->[0] $_->[1]\n" for @j;
END
# What the map of the delta says, joined: KINDS.
cat > map.pl <<'END'
use JSON::PP;
my $kinds = shift; local $/; my @j;
for (@{ decode_json (<STDIN>) }) {
    next unless $_->{kind} =~ /^($kinds)$/;
    if (@j && $j[-1][1] == $_->{start}) { $j[-1][1] += $_->{length} }
    else { push @j, [$_->{start}, $_->{start} + $_->{length}] }
}
print "$_->[0] $_->[1]\n" for @j;
END
json () { perl -MJSON::PP -e 'local $/; my $j = decode_json (<STDIN>); print $j->{$ARGV[0]} // "none"' "$1"; }
total () { awk '{n += $2 - $1} END {print n + 0}' "$1"; }

for format in cowd kdmv stream sesparse; do
    rm -f log
    head -c 32M /dev/urandom > target
    cp target original
    start --filter=log file target logfile="$T/log"

    # ---- Dry run ------------------------------------------------------------
    "$TOOL" apply --dry-run --json $format.vmdk "$uri" > dry 2> err || { cat err; fail "$format: dry run"; }
    same original target
    ! grep -E ' (Write|Zero|Trim|Flush) ' log || fail "$format: a dry run writes"
    # Its first and last bytes tell whether it is raw.
    ! grep -q ' Read ' log || ! grep ' Read ' log | grep -qvE 'offset=0x(0|1fff[0-9a-f]{3}) count=0x([0-9a-f]{1,3}|1000) ' || fail "$format: a dry run reads much"

    # ---- What is written ------------------------------------------------------
    "$TOOL" apply --json $format.vmdk "$uri" > wet 2> err || { cat err; fail "$format: apply"; }
    stop
    "$TOOL" map --json --no-parents $format.vmdk 2> /dev/null > map.json
    perl map.pl 'data|compressed|zero' < map.json > want
    perl ranges.pl all < log > have
    [ -s want ] || fail "$format: nothing in the map"
    diff want have > diff || { head diff; fail "$format: other ranges are written than the delta holds"; }
    grep -q ' Flush ' log || fail "$format: not flushed"

    # ---- Zeros ------------------------------------------------------------------
    perl map.pl zero < map.json | awk '$2 - $1 >= 65536' > want
    while read -r from to; do
        perl ranges.pl zero < log | awk -v f="$from" -v t="$to" '$1 <= f && $2 >= t { found = 1 } END { exit !found }' ||
            fail "$format: zeros at $from to $to were written as data"
    done < want
    case $format in kdmv|sesparse) [ -s want ] || fail "$format: no long zeros" ;; esac

    # ---- The figures --------------------------------------------------------------
    for key in data-bytes data-runs zero-bytes zero-runs size links; do
        [ "$(json $key < dry)" = "$(json $key < wet)" ] || fail "$format: $key: the dry run says something else"
    done
    perl map.pl 'data|compressed' < map.json > want
    [ "$(json data-bytes < wet)" = "$(total want)" ] && [ "$(json data-runs < wet)" = "$(wc -l < want)" ] ||
        fail "$format: data: $(cat wet)"
    perl map.pl zero < map.json > want
    [ "$(json zero-bytes < wet)" = "$(total want)" ] && [ "$(json zero-runs < wet)" = "$(wc -l < want)" ] ||
        fail "$format: zeros: $(cat wet)"
    echo "$format: $(wc -l < have) ranges, $(tr -d '\n ' < wet)"

    # ---- A file: dry run ------------------------------------------------------------
    fresh original target
    touch -d '2020-01-01 00:00:00.5' target
    settled target
    stat -c '%y %z %b' target > before
    "$TOOL" apply --dry-run --quiet $format.vmdk target 2> err
    stat -c '%y %z %b' target > after
    same before after
    same original target

    # ---- A sparse file ----------------------------------------------------------------
    truncate -s 0 target
    truncate -s 32M target
    "$TOOL" apply --json $format.vmdk target > wet 2> err
    settled target
    used=$(($(stat -c '%b * %B' target)))
    # Blocks of 4 KiB that hold some of it, and what the file system itself takes.
    [ "$used" -le $(($(json data-bytes < wet) * 12 / 10 + (4096 - 512) * $(json data-runs < wet) + 65536)) ] ||
        fail "$format: a sparse target takes $used bytes: $(cat wet)"
    fresh original target
    "$TOOL" apply --json $format.vmdk target > wet 2> err
    case $format in
        sesparse)  # runs of 128 KiB: they become holes
            settled target
            used=$(($(stat -c '%b * %B' target)))
            [ "$used" -le $((33554432 - $(json zero-bytes < wet) / 2)) ] || fail "$format: zeros are not punched: $used" ;;
    esac
done
