# A web server for tests: perl httpd.pl FILE PORT-FILE
#
# Serves FILE under any name to GET and HEAD, whole or a range of it, on a free port
# of the loopback interface, whose number it writes into PORT-FILE.
use strict;
use warnings;
use IO::Socket::INET;

my ($file, $port_file) = @ARGV;
my $size = -s $file;
my $server = IO::Socket::INET->new (LocalAddr => '127.0.0.1', Listen => 16)
    or die "listen: $!";
$SIG{CHLD} = 'IGNORE';
open (my $out, '>', "$port_file.new") or die;
print $out $server->sockport, "\n";
close $out;
rename ("$port_file.new", $port_file) or die;

while (my $client = $server->accept) {
    my $pid = fork;
    die unless defined $pid;
    if ($pid) { close $client; next; }
    open (my $in, '<:raw', $file) or die;
    while (defined (my $request = <$client>)) {
        my ($from, $to) = (0, $size - 1);
        my $status = '200 OK';
        while (defined (my $line = <$client>)) {
            last if $line =~ /^\r?\n$/;
            if ($line =~ /^Range: bytes=(\d+)-(\d+)/i) {
                ($from, $to) = ($1, $2 < $size ? $2 : $size - 1);
                $status = '206 Partial Content';
            }
        }
        my $length = $to - $from + 1;
        print $client "HTTP/1.1 $status\r\nAccept-Ranges: bytes\r\nContent-Length: $length\r\n",
            $status =~ /^206/ ? "Content-Range: bytes $from-$to/$size\r\n" : '', "\r\n";
        next if $request =~ /^HEAD /;
        seek ($in, $from, 0);
        while ($length > 0) {
            my $n = read ($in, my $buf, $length < 65536 ? $length : 65536);
            last unless $n && print $client $buf;
            $length -= $n;
        }
        $client->flush;
    }
    exit 0;
}
