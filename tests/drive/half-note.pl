# half-note.pl NOTE: make the note of a target that says "finished" say "writing", as it was
# before that; the CID of the time between goes to the file "temp".
use strict; use warnings; use IO::Compress::Gzip qw(gzip);
my ($name) = @ARGV;
open my $f, "<", $name or die; local $/; my $text = <$f>;
$text =~ s/^run finished/run writing/m or die;
$text =~ s/^(stamp|sample|end) .*\n//mg;
$text =~ s/^moved\n//m;
$text =~ /^temp (\S+)/m or die;
open my $t, ">", "temp"; print $t $1; close $t;
gzip (\$text, \my $z) or die;   # its trailer has the CRC
my ($crc) = unpack "V", substr $z, -8, 4;
open my $o, ">", $name or die; printf $o "%send %08x\n", $text, $crc;
