#!/bin/bash
# apply is killed at random moments and run again: the disk is the expected one
# every time.  With --undo, the undo file then brings the old bytes back, and
# one that was there when the run was killed is not made anew.  The targets are
# a file and a slow NBD export, so that many runs really end in the middle.
#
# KILLS is how many runs must really end in the middle (default 8, with a sanitizer 4);
# on a busy machine more have to be killed until that many have.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need tool mkimage perl nbdkit:filter:delay

kills=${KILLS:-$([ "${SANITIZE:-}" ] && echo 4 || echo 8)}

cat > drive.pl <<'END'
use strict; use warnings; use Digest::SHA; use Time::HiRes qw(usleep time);
my ($tool, $delta, $uri, $times, $seed) = @ARGV;
my $file = "target";
my %n = (untouched => 0, partly => 0, complete => 0, kept => 0, leftover => 0);
srand $seed;

sub digest { Digest::SHA->new (256)->addfile ($_[0], "b")->hexdigest }
# In place: a server may have it open.
sub copy { system ("dd", "if=$_[0]", "of=$_[1]", "bs=1M", "conv=notrunc", "status=none") == 0 or die }
sub slurp { open my $f, "<:raw", $_[0] or die "$_[0]: $!"; local $/; return scalar <$f> }

# Runs it; kills it after so many microseconds, if given.  The status of waitpid.
sub apply {
    my ($after, @args) = @_;
    my $pid = fork // die;
    if ($pid == 0) {
        open STDOUT, ">", "out"; open STDERR, ">&", \*STDOUT;
        exec $tool, "apply", @args or die;
    }
    if (defined $after) { usleep ($after); kill "KILL", $pid }
    waitpid $pid, 0;
    return $?;
}
sub must { apply (undef, @_) == 0 or die "apply @_: status $?: " . slurp ("out") }

my ($old, $new) = (digest ("original"), digest ("expected"));
# When to kill: between these times a run writes.  At first, how long a whole one takes; then
# what was seen, since on a busy machine no run takes as long as another.
my @undo = ("--undo=undo.vmdk");
my %window;
sub learn {
    my ($w, $at, $seen) = @_;
    if ($seen eq "untouched") { $w->[0] = ($w->[0] + $at) / 2; $w->[1] *= 1.1 }
    elsif ($seen eq "complete") { $w->[1] = ($w->[1] + $at) / 2; $w->[0] *= 0.9 }
    else { $w->[0] *= 0.9; $w->[1] *= 1.05 }
}
for my $with (0, 1) {
    for my $t (1, 4) {
        copy ("original", $file); unlink "undo.vmdk", "$file.vmdkdelta-state";
        my $start = time;
        must (($with ? @undo : ()), "--threads=$t", $delta, $uri);
        $window{$with, $t} = [0, (time - $start) * 1e6];
        digest ($file) eq $new or die "not the expected disk, though nothing was killed";
    }
}

my $i = 0;
while ($n{partly} < $times) {
    ++$i <= 20 * $times + 100 or die "only $n{partly} of $n{untouched} + $n{complete} more were killed in the middle";
    my $with = $i % 2;
    my $t = $i % 4 < 2 ? 1 : 4;
    my @args = (($with ? @undo : ()), "--threads=$t", $delta, $uri);
    copy ("original", $file); unlink "undo.vmdk", "$file.vmdkdelta-state";
    # Killed once, twice, ... before it is left to end.
    my $more = 1 + int rand 2;
    my $undo;
    for (1 .. $more) {
        my $w = $window{$with, $t};
        my $at = int ($w->[0] + rand ($w->[1] - $w->[0]));
        apply ($at, @args);
        my $d = digest ($file);
        my $seen = $d eq $old ? "untouched" : $d eq $new ? "complete" : "partly";
        $n{$seen}++;
        learn ($w, $at, $seen);
        if ($with) {
            $d eq $old || -e "undo.vmdk" or die "$i: written, but there is no undo file";
            my $u = -e "undo.vmdk" ? digest ("undo.vmdk") : undef;
            !defined $undo || $undo eq $u or die "$i: the undo file was changed";
            $undo = $u;
        }
        my @left = glob "undo*.part"; $n{leftover} += @left; unlink @left;
    }
    must (@args);
    digest ($file) eq $new or die "$i: not the expected disk";
    if ($with) {
        if (defined $undo) {
            digest ("undo.vmdk") eq $undo or die "$i: the undo file was overwritten";
            slurp ("out") =~ /kept from an earlier run/ or die "$i: not said that it was kept";
            $n{kept}++;
        }
        must ("--verify", "undo.vmdk", $uri);
        digest ($file) eq $old or die "$i: not brought back";
    }
}
print "$i times: ", join (", ", map { "$n{$_} $_" } sort keys %n), "\n";
END

# A scattered delta with zeros: many writes.
"$MKIMAGE" make sesparse d.vmdk --capacity=12M --fill=50 --runs=4 --zero=20 --seed=3 --scatter \
    --descriptor=delta.vmdk --parent=base.vmdk --parent-cid=12345678 --cid=9abcdef0
head -c 12M /dev/urandom > original
dd if=/dev/zero of=original bs=1M seek=3 count=2 conv=notrunc status=none
cp original target
"$TOOL" apply --quiet delta.vmdk target 2> err || { cat err; fail "apply"; }
mv target expected

cp original target
perl drive.pl "$TOOL" delta.vmdk target $((kills / 2)) 1
cp original target
start --filter=delay file target delay-write=1ms delay-zero=1ms
perl drive.pl "$TOOL" delta.vmdk "$uri" $((kills - kills / 2)) 2
stop
