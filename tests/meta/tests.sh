#!/bin/bash
# The form of the shell tests.  Under "set -e" some forms look like a check and are none:
#
#   [ A ] && [ B ]     as a statement: if A is false the shell goes on, as it does after any
#                      command in front of the last "&&".  Write two lines, or add "|| fail".
#   ! A                as a statement: "set -e" does not look at it.  Write "if A; then fail".
#                      (As the last statement of a function both are its result: fine.)
#   f || fail          or "if f", "! f", "f && ...": inside of f "set -e" is off, so that each
#                      command of f that is to fail the test needs its own "|| return".
#
# And the lists of tests name tests that there are.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need perl
cd "$top_srcdir"

cat > "$T/form.pl" <<'END'
use strict; use warnings;
my $bad = 0;
sub complain { my ($file, $n, $what) = @_; print "$file:$n: $what\n"; $bad = 1; }

# Of a file: [number, text] of each statement line, without comments and here documents,
# with S for strings and X for what is put in; continued lines joined.
sub lines {
    my ($file) = @_;
    open my $f, "<", $file or die "$file: $!";
    local $/;
    local $_ = <$f>;
    my ($n, $at, $held, @here, @lines) = (1, 1, "");
    # A part of them: what it is, and how many lines it goes on for.
    my $parts = qr/(?(DEFINE)
        (?<put> \$\( (?: [^()'"\\]+ | \\. | '[^']*' | (?&string) | \( (?: [^()]+ | \([^()]*\) )* \) )* \) |
                \$\{ (?: [^{}'"\\]+ | \\. | '[^']*' | (?&string) | \{ [^{}]* \} )* \} )
        (?<string> " (?: [^"\\\x24`]+ | \\. | (?&put) | \x24 | `[^`]*` )* " ))/sx;
    pos () = 0;
    while (pos () < length) {
        if (/\G[\w.\/:=,+*@%^~!?\[\]{}();|&>-]+[ \t]*|\G[ \t]+/gc) { $held .= $& }
        elsif (/\G(?:(?&string)|\$?'[^']*')$parts/gc) { $held .= "S"; $n += ($& =~ tr/\n//) }
        elsif (/\G(?&put)$parts/gc) { $held .= "X"; $n += ($& =~ tr/\n//) }
        elsif (/\G\\\n/gc) { $n++ }
        elsif (/\G\\./gc) { $held .= "X" }
        elsif (/\G<<-?\s*(['"]?)([A-Za-z_]+)\1/gc) { push @here, $2; $held .= "<<" }
        elsif ((pos () == 0 || substr ($_, pos () - 1, 1) =~ /\s/) && /\G#[^\n]*/gc) { }
        elsif (/\G\n/gc) {
            for my $end (@here) { /\G.*?^\t*\Q$end\E\n/gcsm and $n += ($& =~ tr/\n//) }
            @here = ();
            $n++;
            $held =~ s/\s+$//;
            if ($held =~ /(&&|\|\||\|)$/) { $held .= " "; next }
            push @lines, [$at, $held] if $held =~ /\S/;
            $held = "";
            $at = $n;
        }
        else { /\G./gcs; $held .= $& }
    }
    return @lines;
}

my $away = qr/^\s*(fail|skip|continue|break|return|exit|complain)\b/;
my (%body, %called);
for my $file (@ARGV) {
    my @lines = lines ($file);
    my @function;       # [name, indent] of what we are in
    for my $i (0 .. $#lines) {
        my ($n, $text) = @{$lines[$i]};
        my ($indent) = $text =~ /^(\s*)/;
        if ($text =~ /^\s*([a-z_][a-z0-9_]*) \(\) *[({] *$/) { push @function, [$1, length $indent] }
        elsif ($text =~ /^\s*([a-z_][a-z0-9_]*) \(\) *\{(.*)\}\s*$/) {
            push @{$body{$file}{$1}}, map { [$n, $_] } split /;/, $2;
            next;
        }
        elsif (@function && $text =~ /^\s*[)}]/ && length $indent == $function[-1][1]) { pop @function }
        elsif (@function) { push @{$body{$file}{$function[-1][0]}}, [$n, $text] }

        # What is asked.
        for my $part (split /;(?!;)|\bthen\b|\bdo\b/, $text) {
            my $condition = $part =~ s/^\s*(if|elif|while|until)\s+//;
            my $not = $part =~ s/^\s*!\s+//;
            my @and = split /(&&|\|\|)/, $part;
            for (my $k = 0; $k < @and; $k += 2) {
                (my $command = $and[$k]) =~ s/^\s*(?:\S+\)\s+)?(?:!\s+)?[({]?\s*//;
                next unless $command =~ /^([a-z_][a-z0-9_]*)(\s|$)/;
                push @{$called{$1}}, "$file:$n" if $condition || $not || $k < $#and;
            }
            # A list whose failure is nobody's, and what is inverted, which never is one.
            next if $condition || $part =~ /\|\|/ || $part =~ /\[\[[^]]*&&/;
            next if $not ? $part eq "" : $part !~ /&&/;
            my $last = (split /&&/, $part)[-1];
            next if $part =~ /&&/ && $last =~ $away || $last =~ /^\s*[A-Za-z_]+\+?=\S*\s*$/;
            next if $part =~ /^\s*\(?cd / || $text =~ /^\s*(local )?[a-z_]+=\(?/ || $part =~ /\(\(/;
            # The end of a function: its result.
            my $k = $i + 1;
            $k++ while $k <= $#lines && ($lines[$k][1] =~ /^\s*(esac|fi|;;)\s*$/ || ($text =~ /;;$/ && $lines[$k][1] =~ /;;\s*$|\)\s*$/));
            next if @function && $k <= $#lines && $lines[$k][1] =~ /^\s*[)}]/;
            complain ($file, $n, ($not ? "what is inverted" : "a list with &&") . " whose failure counts for nothing: $part");
        }
    }
}

# Functions that somebody asks: no statement of theirs, but the last, may rely on "set -e".
my $harmless = qr/^\s*(local|shift|echo|printf|rm|sleep|kill|cat >|export|read|:|true|unset|set|esac|fi|done|else|then|do|for|if|elif|while|until|case|[({})]|[A-Za-z_]+(\[[^]]*\])?\+?=|;;|\S+\)\s*(;;)?$)/;
for my $file (sort keys %body) {
    for my $name (sort keys %{$body{$file}}) {
        next unless $called{$name};
        my @b = @{$body{$file}{$name}};
        # Tests have functions of the same name: only those that see each other.
        my @from = grep { my ($f) = /^([^:]*)/; $f eq $file || $f !~ m,/(test|long)-, || $file !~ m,/(test|long)-, } @{$called{$name}};
        next unless @from;
        while (@b && $b[-1][1] =~ /^\s*(esac|fi|done|;;)?\s*$/) { pop @b }
        pop @b;
        for my $s (@b) {
            my ($n, $text) = @$s;
            next if $text =~ /\|\|/ || $text =~ $harmless || $text =~ $away || $text =~ /^\s*\S+\)\s/ || $text =~ /&\s*$/ || $text =~ /;;\s*$/;
            complain ($file, $n, "$name is asked at $from[0], so this failure counts for nothing: $text");
        }
    }
}
exit $bad;
END
status=0
perl "$T/form.pl" tests/*.sh tests/drive/*.sh tests/meta/*.sh || status=$?

# ---- Lists of tests ------------------------------------------------------------

there () {  # NAME
    [ -f "tests/$1.sh" ] || [ -f "tests/unit/$1.c" ]
}
while read -r name _; do
    there "$name" || { echo "tests/slow names $name, which is not there"; status=1; }
done < <(grep -v '^#' tests/slow)
while IFS=: read -r name _; do
    there "${name#unit/}" || { echo "tests/skips-allowed names $name, which is not there"; status=1; }
done < <(grep -v '^#\|^section ' tests/skips-allowed)

[ $status -eq 0 ] || fail 'see above'

# It can fail.
cat > "$T/bad.sh" <<'END'
[ -e a ] && [ -e b ]
grep -q x y && grep -q z y
! grep -q x y
! grep -q x y || fail 'this is fine'
[ -e a ] && fail 'this is fine'
asked () {
    grep -q first log
    grep -q second log
}
asked || fail 'no'
END
expect_fail . perl "$T/form.pl" "$T/bad.sh"
[ "$(wc -l < "$T/output")" = 4 ] || fail "of four faults it finds: $(cat "$T/output")"
