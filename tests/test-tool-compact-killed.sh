#!/bin/bash
# compact is killed at random moments, once or more often, and run again: the disk is the
# same at every moment, and in the end the file is as small as without an accident.
#
# KILLS is how often (default 16).
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need tool qemu-img qemu-io perl

cat > drive.pl <<'END'
use strict; use warnings; use Time::HiRes qw(usleep time);
my ($tool, $format, $times, $seed) = @ARGV;
my %n = (untouched => 0, partly => 0, complete => 0);
srand $seed;
sub copy { system ("cp", "--sparse=never", $_[0], $_[1]) == 0 or die }
sub compact {
    my ($after) = @_;
    my $pid = fork // die;
    if ($pid == 0) {
        open STDOUT, ">", "out"; open STDERR, ">&", \*STDOUT;
        exec $tool, "compact", "disk" or die;
    }
    if (defined $after) { usleep ($after); kill "KILL", $pid }
    waitpid $pid, 0;
    return $?;
}
sub like {
    system ("qemu-img", "compare", "-q", "-f", $format, "-F", "raw", "disk", "raw") == 0 or die "$_[0]: differs";
}
copy ("original", "disk");
my $start = time;
compact () == 0 or die "without an accident";
my $long = (time - $start) * 1e6;
my $size = -s "disk";
$size < -s "original" or die "nothing was given back";
like ("whole");
# On a busy machine the time that it takes changes from run to run: go on until enough of them
# were killed in the middle.
for my $i (1 .. 8 * $times) {
    last if $i > $times && $n{partly} >= $times / 4;
    copy ("original", "disk");
    for (1 .. 1 + int rand 2) {
        compact (int rand $long);
        my $what = system ("cmp", "-s", "original", "disk") == 0 ? "untouched" : -s "disk" == $size ? "complete" : "partly";
        $n{$what}++;
        $long *= 1.2 if $what eq "untouched";
        $long /= 1.2 if $what eq "complete";
        like ($i);
    }
    compact () == 0 or die "$i: does not complete";
    -s "disk" == $size or die "$i: not the expected size";
    like ("$i, completed");
    system ("$tool check disk > log 2>&1") == 0 or die "$i: check: " . `cat log`;
}
print "$format: ", join (", ", map { "$n{$_} $_" } sort keys %n), "\n";
open my $f, ">>", "partly"; print $f "$n{partly}\n";
END

kills=${KILLS:-16}
for format in vdi vmdk; do
    rm -f original
    qemu-img create -q -f $format original 48M
    args=()
    for ((i = 0; i < 40; i += 2)); do
        args+=(-c "write -q -P $((i % 3 ? i : 0)) ${i}M 1M")
    done
    qemu-io -f $format "${args[@]}" original
    qemu-img convert -f $format -O raw original raw
    perl drive.pl "$TOOL" $format $((kills / 2)) 1
done
partly=$(awk '{n += $1} END {print n}' partly)
[ "$partly" -ge $((kills / 8)) ] || fail "only $partly runs were killed in the middle"
