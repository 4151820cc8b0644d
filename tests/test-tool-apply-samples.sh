#!/bin/bash
# The sample images: their deltas, applied to a raw copy of their base, give the
# disk that is expected, and the undo file brings the base back bit for bit.
#
# VMDKDELTA_SAMPLES=DIR reads the archives of that directory instead.
# APPLY_TO is what the deltas are applied to: file, loop or nbd; SAMPLES are patterns of
# the names of those that are taken (default: all).
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/samples.sh"
need tool plugin xz qemu-img nbdcopy perl

to=${APPLY_TO:-file}
applied=0 refused=0 alone=0

# ---- The raw base -------------------------------------------------------------

# raw_base FILE: make base.raw of it.
raw_base () {
    local format
    if flat_base "$1"; then
        :
    elif [ "$size" -gt $((1 << 40)) ]; then
        # QEMU takes half a minute for the tables of a disk like this; what must come out
        # in the end is known from elsewhere (expected.chunks.json).
        nbdkit "$PLUGIN" "file=$1" --run 'nbdcopy "$uri" base.raw'
    else
        case $1 in *.vdi) format=vdi ;; *) format=vmdk ;; esac
        qemu-img convert -f $format -O raw "$1" base.raw
        # QEMU rounds up to a whole grain.
        truncate -s "$size" base.raw
    fi
}

# ---- Digests ------------------------------------------------------------------

# Of a file that may be huge and full of holes: of each MiB that is not all
# zeros a line "NUMBER DIGEST", as expected.chunks.json has them.
chunks () {
    perl -MDigest::SHA=sha256_hex -e '
        open my $f, "<", $ARGV[0] or die; binmode $f;
        my ($size, $m, $at) = (-s $f, 1 << 20, 0);
        while ($at < $size) {
            my $d = sysseek ($f, $at, 3);
            last unless defined $d;
            my $i = int ($d / $m);
            sysseek ($f, $i * $m, 0); my $buf = "";
            while (length $buf < $m) { last unless sysread $f, $buf, $m - length $buf, length $buf }
            print "$i ", substr (sha256_hex ($buf), 0, 16), "\n" if $buf =~ /[^\0]/;
            $at = ($i + 1) * $m;
        }' "$1"
}

check_result () {
    if [ -e expected.raw.sha256 ]; then
        [ "$(sha256 target)" = "$(cut -d ' ' -f 1 expected.raw.sha256)" ] ||
            fail "$name: not the disk that is expected"
    else
        chunks target > have
        # A short last piece is listed there even if it is all zeros.
        sample_mebibytes > want
        n=$(stat -c %s target)
        if [ $((n % 1048576)) -gt 0 ]; then
            zero=$(head -c $((n % 1048576)) /dev/zero | sha256sum)
            sed -i "/^$((n / 1048576)) ${zero:0:16}\$/d" want
        fi
        diff want have > /dev/null || fail "$name: not the disk that is expected: $(diff want have | head -n 3)"
    fi
}

# ---- Targets ------------------------------------------------------------------

open_target () {
    case $to in
        file) target=target ;;
        loop) target=$(losetup --find --show target) || fail "losetup"
              loop=$target ;;
        nbd) start file target; target=$uri ;;
    esac
}

close_target () {
    case $to in
        loop) losetup -d "$loop"; loop= ;;
        nbd) stop ;;
    esac
}

if [ "$to" = loop ]; then
    need losetup
    loop=
    truncate -s 1M try
    loop=$(losetup --find --show try 2>/dev/null) || skip "loop devices cannot be made here"
    on_exit '[ -z "$loop" ] || losetup -d "$loop"'
    losetup -d "$loop"
    loop=
fi

# ---- One sample ---------------------------------------------------------------

check_sample () {
    local chain before size
    mapfile -t chain < <(strings chain)
    if [ ${#chain[@]} -lt 2 ]; then alone=$((alone + 1)); return; fi
    size=$(number virtual_size)
    raw_base "${chain[0]}"
    cp --sparse=always base.raw target
    before=$(sha256sum_sparse base.raw)
    open_target
    if [ ! -e expected.raw.sha256 ] && [ ! -e expected.chunks.json ]; then
        expect_fail . "$TOOL" apply --undo=undo.vmdk "${chain[@]:1}" "$target"
        close_target
        same base.raw target
        refused=$((refused + 1))
        return
    fi
    "$TOOL" apply --quiet --verify --undo=undo.vmdk "${chain[@]:1}" "$target" || fail "$name: apply"
    close_target
    check_result
    open_target
    "$TOOL" apply --quiet --verify undo.vmdk "$target" || fail "$name: undo"
    close_target
    [ "$before" = "$(sha256sum_sparse target)" ] || fail "$name: not brought back"
    applied=$((applied + 1))
    echo "$name: ${#chain[@]} files, $(stat -c %s target) bytes"
}

# Small files: a digest; huge ones: the digests of what is there.
sha256sum_sparse () {
    if [ "$(stat -c %s "$1")" -le $((64 << 20)) ]; then sha256 "$1"; else chunks "$1" | sha256sum; fi
}

read -r -a patterns <<< "${SAMPLES:-*}"
each_sample check_sample "${patterns[@]}"
echo "$to: $applied applied and taken back, $refused refused, $alone without a delta"
if [ $applied -eq 0 ] || [ $refused -eq 0 ]; then fail "no samples in $data"; fi
