#!/bin/bash
# Deltas that are cut off anywhere, or whose tables point to where nothing is,
# or whose compressed grains are damaged: refused before anything is written,
# which the target's digest and its time of modification show.  An intact
# delta of each kind is taken beside them.
#
# Here at every third place, and an SEsparse file, which has many, at every 83rd; with
# TEST_LONG at all.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need tool mkimage perl

for format in cowd kdmv stream sesparse; do
    options=(--capacity=192K --fill=50)
    case $format in
        cowd) options+=(--grain=4K) ;;
        kdmv) options+=(--grain=4K --zero=20) ;;
        stream) options+=(--grain=4K --footer) ;;
        sesparse) options+=(--zero=20 --unmapped=10) ;;
    esac
    "$MKIMAGE" make $format $format.vmdk "${options[@]}" --descriptor=d-$format.vmdk \
        --parent=base.vmdk --parent-cid=12345678 --cid=9abcdef0
done
head -c 192K /dev/zero | tr '\0' 'o' > original

cat > drive.pl <<'END'
use strict; use warnings; no warnings "portable";
my ($tool, $format, $step) = @ARGV;
my ($delta, $target, $old) = ("$format.vmdk", "target", slurp ("original"));
my ($refused, $taken, @good) = (0, 0);

sub slurp { my ($name) = @_; open my $f, "<:raw", $name or die "$name: $!"; local $/; return scalar <$f> }
sub spew { my ($name, $data) = @_; open my $f, ">:raw", $name or die "$name: $!"; print $f $data; close $f or die }
sub fresh { spew ($target, $old); unlink "$target.vmdkdelta-state"; utime 1577880000, 1577880000, $target }

# Returns the exit status and what was said.
sub apply {
    my $status = system ("'$tool' apply --undo=undo.vmdk @_ d-$format.vmdk target > out 2>&1");
    die "killed by a signal: $status" if $status & 127;
    return ($status >> 8, slurp ("out"));
}

# The delta as it is now: refused, the target untouched.  If MAY, it may be
# taken too, when what is missing is not needed.
sub refuse {
    my ($what, $may) = @_;
    my ($status, $said) = apply ();
    if ($may && $status == 0) {
        slurp ($target) eq $good[0] or die "$what: taken, but other bytes";
        fresh (); unlink "undo.vmdk"; $taken++;
        return;
    }
    $status == 1 or die "$what: status $status: $said";
    $said =~ /\Q$format\E\.vmdk/ or die "$what: the file is not named: $said";
    $said !~ /partly/ or die "$what: a state is told: $said";
    (stat $target)[9] == 1577880000 or die "$what: the target was written";
    slurp ($target) eq $old or die "$what: the target is changed";
    ! -e "undo.vmdk" or die "$what: an undo file was made";
    $refused++;
}

my $whole = slurp ($delta);
my $size = length $whole;
fresh ();
my ($status, $said) = apply ("--verify");
$status == 0 or die "a good one: $said";
$good[0] = slurp ($target);
$good[0] ne $old or die "nothing was written";
unlink "undo.vmdk";
fresh ();

# ---- Cut off ----------------------------------------------------------------

for (my $n = int (($size - 1) / 512) * 512; $n >= 0; $n -= 512 * $step) {
    truncate $delta, $n;
    refuse ("cut at $n of $size", 1);
}
print "$format: cut: $refused refused, $taken taken\n";
# There may be padding behind the last grain.
$taken < 20 or die "$taken cut files were taken";
spew ($delta, $whole);

# ---- Entries out of range ----------------------------------------------------

my @entries;    # [place, bytes, value]
if ($format eq "cowd") {
    my ($gd, $n) = unpack "VV", substr $whole, 20, 8;
    for my $i (0 .. $n - 1) {
        my $t = unpack "V", substr $whole, $gd * 512 + 4 * $i, 4 or next;
        push @entries, [$gd * 512 + 4 * $i, "V"];
        push @entries, [$t * 512 + 4 * $_, "V"] for grep { unpack "V", substr $whole, $t * 512 + 4 * $_, 4 } 0 .. 4095;
    }
}
elsif ($format eq "sesparse") {
    my ($gd, $gds, $gt) = (unpack ("Q<", substr $whole, 128, 8), unpack ("Q<", substr $whole, 136, 8),
                           unpack ("Q<", substr $whole, 144, 8));
    my $per = unpack "Q<", substr $whole, 32, 8;
    for my $i (0 .. $gds * 64 - 1) {
        my $e = unpack "Q<", substr $whole, $gd * 512 + 8 * $i, 8 or next;
        push @entries, [$gd * 512 + 8 * $i, "Q<"];
        my $t = ($gt + ($e & 0xffffffff) * $per) * 512;
        push @entries, [$t + 8 * $_, "Q<"]
            for grep { unpack ("Q<", substr $whole, $t + 8 * $_, 8) >> 60 == 3 } 0 .. $per * 64 - 1;
    }
}
else {
    my $head = $format eq "stream" ? substr $whole, -1024, 512 : substr $whole, 0, 512;
    my ($gd, $per) = (unpack ("Q<", substr $head, 56, 8), unpack "V", substr $head, 44, 4);
    my $n = int ((unpack ("Q<", substr $head, 12, 8) + unpack ("Q<", substr $head, 20, 8) * $per - 1)
                 / (unpack ("Q<", substr $head, 20, 8) * $per));
    for my $i (0 .. $n - 1) {
        my $t = unpack "V", substr $whole, $gd * 512 + 4 * $i, 4 or next;
        push @entries, [$gd * 512 + 4 * $i, "V"];
        push @entries, [$t * 512 + 4 * $_, "V"]
            for grep { unpack ("V", substr $whole, $t * 512 + 4 * $_, 4) > 1 } 0 .. $per - 1;
    }
}
@entries > 10 or die "only " . @entries . " entries found";
my $before = $refused;
for my $e (@entries) {
    my $copy = $whole;
    my $n = $e->[1] eq "V" ? 4 : 8;
    my $was = unpack $e->[1], substr $copy, $e->[0], $n;
    for my $bad ($n == 4 ? (0xfffffff0, int ($size / 512) + 1)
                 : ($was & 0xf000000000000000 | 0xffffff, $was & 0xf000000000000000 | 0x00fff00000000000)) {
        substr ($copy, $e->[0], $n) = pack $e->[1], $bad;
        spew ($delta, $copy);
        refuse (sprintf "entry at %d: %#x instead of %#x", $e->[0], $bad, $was);
    }
}
print "$format: ", scalar @entries, " entries out of range: ", $refused - $before, " refused\n";

# ---- Compressed grains ------------------------------------------------------

if ($format eq "stream") {
    $before = $refused;
    my ($state, $grains) = (0, 0);
    for my $e (@entries[1 .. $#entries]) {
        my $at = 512 * unpack "V", substr $whole, $e->[0], 4;
        my $n = unpack "V", substr $whole, $at + 8, 4;
        for my $place ($at + 12, $at + 12 + int ($n / 2), $at + 12 + $n - 1) {
            my $copy = $whole;
            substr ($copy, $place, 1) ^= "\x5a";
            spew ($delta, $copy);
            refuse ("damaged at $place");
        }
        # The flag says: do not look first.  Then it is found when it is late.
        my ($status, $said) = apply ("--trust-data");
        $status == 1 or die "--trust-data: status $status: $said";
        # Or when samples for the undo file are taken, which is early.
        if (-e "undo.vmdk") {
            $said =~ /partly old and partly new/ or die "--trust-data: no state: $said";
            $said =~ /undo\.vmdk/ or die "--trust-data: the undo file is not named: $said";
        } else {
            slurp ($target) eq $old or die "--trust-data: something was written: $said";
        }
        $grains++;
        spew ($delta, $whole);
        ($status, $said) = apply ();
        $status == 0 && slurp ($target) eq $good[0] or die "the good delta afterwards: $said";
        system ("'$tool' apply --quiet undo.vmdk target") == 0 && slurp ($target) eq $old or die "undo";
        unlink "undo.vmdk";
        fresh ();
    }
    print "$format: $grains grains damaged: ", $refused - $before, " refused\n";
}
END

for format in cowd kdmv stream sesparse; do
    step=3
    [ $format != sesparse ] || step=83
    [ -z "${TEST_LONG:-}" ] || step=1
    [ -z "${SANITIZE:-}" ] || step=$((step * 4))
    perl drive.pl "$TOOL" $format $step
done
