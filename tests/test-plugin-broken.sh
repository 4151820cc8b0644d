#!/bin/bash
# One broken disk in a directory does not stop the others.  It is not listed, since
# clients give up a listing at the first export that they cannot open; the reason
# is said at the start, and again when somebody opens it by name.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/test-chain-disks.sh"
need nbdinfo perl

mkdir vm
base vm/good.vmdk 1 A
child vm/good-000001.vmdk 2 1 "$(hint good.vmdk)"
child vm/orphan.vmdk 3 77 "$(hint gone.vmdk)"
child vm/wrong.vmdk 4 99 "$(hint good.vmdk)"
child vm/loop.vmdk 5 5 "$(hint loop2.vmdk)"
child vm/loop2.vmdk 5 5 "$(hint loop.vmdk)"
base vm/noflat.vmdk 6 B
rm vm/noflat-flat.vmdk
base vm/cut.vmdk 7 C
truncate -s 1000 vm/cut-flat.vmdk

# names: of all exports, as the server lists them, whether they can be opened or
# not.  descriptions: with their descriptions.
descriptions () {
    perl -e '
        use IO::Socket::UNIX;
        my $s = IO::Socket::UNIX->new (Peer => $ARGV[0]) or die "$ARGV[0]: $!";
        my $buf;
        sub get { read ($s, $buf, $_[0]) == $_[0] or die "short answer"; $buf }
        get (18);
        print $s pack ("N", 1), "IHAVEOPT", pack ("NN", 3, 0);
        $s->flush;
        while (1) {
            my (undef, undef, undef, $type, $n) = unpack ("NNNNN", get (20));
            last if $type != 2;
            my $len = unpack ("N", get (4));
            my $name = get ($len);
            print "$name: ", get ($n - 4 - $len), "\n";
        }' "$sock"
}
names () { descriptions | sed 's/: .*//' | sort | tr '\n' ' '; }

start "$PLUGIN" dir=vm 2> server.log
[ "$(names)" = 'cut.vmdk good-000001.vmdk good.vmdk ' ] ||
    fail "$(names)"
for f in good good-000001; do
    nbdcopy "nbd+unix:///$f.vmdk?socket=$sock" out
    letters A | cmp - out
done
nbdinfo --list --json "$uri" > list.json
# check NAME TEXT: on stderr at the start, and when it is opened.
check () {
    grep -F "warning: export $1 cannot be opened: " server.log | grep -Fq -e "$2" || fail "$1: $(cat server.log)"
    expect_fail . nbdinfo --size "nbd+unix:///$1?socket=$sock"
    grep -F "error: export $1 cannot be opened: " server.log | grep -Fq -e "$2" || fail "$1: $(cat server.log)"
}
check orphan.vmdk "parent 'gone.vmdk' of $T/vm/orphan.vmdk not found; looked in $T/vm for: gone.vmdk"
check wrong.vmdk "$T/vm/wrong.vmdk was made on content 00000099"
check loop.vmdk "the chain loops: $T/vm/loop.vmdk is its own ancestor"
check loop2.vmdk "the chain loops: $T/vm/loop2.vmdk is its own ancestor"
check noflat.vmdk "refers to noflat-flat.vmdk: $T/vm/noflat-flat.vmdk: No such file"
# One that is cut is served, with a warning.
grep -Fq "$T/vm/cut-flat.vmdk is 1000 bytes long, but the extent needs 65536 bytes" server.log || fail "$(cat server.log)"
[ "$(nbdinfo --size "nbd+unix:///cut.vmdk?socket=$sock")" = 65536 ]
stop

# A file that is no descriptor and no image at all: a message, no export.
echo '# Disk DescriptorFile' > vm/empty.vmdk
head -c 100 /dev/urandom > vm/noise.vmdk
printf 'KDMV\1\0\0\0' > vm/short.vmdk
start "$PLUGIN" dir=vm 2> server.log
grep -Fq "not an export: $T/vm/empty.vmdk: descriptor has no extent line" server.log || fail "$(cat server.log)"
grep -Fq "$T/vm/short.vmdk" server.log || fail "$(cat server.log)"
[ "$(names)" = 'cut.vmdk good-000001.vmdk good.vmdk ' ] ||
    fail "$(names)"
stop

# With file= a broken chain is not served.
expect_fail "parent 'gone.vmdk'" nbdkit "$PLUGIN" vm/orphan.vmdk --run true
