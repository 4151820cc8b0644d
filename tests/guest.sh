# shellcheck shell=bash
# Disks with file systems of guests on them, for the tests of --free-space.
# Needs mke2fs, debugfs, e2fsck, dumpe2fs and qemu-img.

# le32 N...: as bytes.
le32 () {
    local n
    for n; do
        # shellcheck disable=SC2059
        printf "$(printf '\\x%02x\\x%02x\\x%02x\\x%02x' $((n & 255)) $((n >> 8 & 255)) $((n >> 16 & 255)) $((n >> 24 & 255)))"
    done
}

# table FILE SECTOR [TYPE:START:COUNT]...: write a partition table, in sectors; START is
# what the entry is to say.
table () {
    local file=$1 sector=$2 entry type start count
    shift 2
    {
        for entry; do
            IFS=: read -r type start count <<< "$entry"
            # shellcheck disable=SC2059
            printf "\0\0\0\0\\x$type\0\0\0"
            le32 "$start" "$count"
        done
        head -c $((16 * (4 - $#))) /dev/zero
        printf '\x55\xaa'
    } | dd of="$file" bs=1 seek=$((sector * 512 + 446)) conv=notrunc status=none
}

# put FILE OFFSET: write stdin there.
put () { dd of="$1" bs=65536 oflag=seek_bytes seek="$2" conv=notrunc status=none; }

# part FILE OFFSET MIB OUT: take it out again.
part () { dd if="$1" of="$4" bs=1M iflag=skip_bytes skip="$2" count="$3" status=none; }

# files DIR N: so many files of up to 300 KiB, and some small ones.
files () {
    local i
    mkdir -p "$1/dir"
    for ((i = 0; i < $2; i++)); do head -c $((RANDOM * 10)) /dev/urandom > "$1/f$i"; done
    for ((i = 0; i < 50; i++)); do echo "small $i" > "$1/dir/s$i"; done
    ln -s f0 "$1/link"
    truncate -s 1M "$1/sparse"
}

# guest FILE MIB N MKE2FS...: a file system with N files, half of which were removed
# again, after something was written into all that is free.
guest () {
    local file=$1 mib=$2 n=$3 i
    shift 3
    rm -rf tree
    files tree "$n"
    # Free space is what was there before: not zeros.
    head -c $((mib << 20)) /dev/zero | tr "\0" x > "$file"
    mke2fs -q -F -E nodiscard -d tree "$@" "$file"
    for ((i = 0; i < n; i += 2)); do echo "rm f$i"; done > commands
    debugfs -w -f commands "$file" > log 2>&1
    sound "$file"
}

sound () { e2fsck -fn "$1" > log 2>&1 || fail "e2fsck $1: $(cat log)"; }

# digests FILE: of everything in a file system.
digests () {
    rm -rf dump
    mkdir dump
    debugfs -R 'rdump / dump' "$1" > log 2>&1
    (cd dump; find . -type f -exec sha256sum {} +; find . -type l -printf '%p %l\n') | sort
}

# free_blocks FILE: "START END" in bytes, joined, of what the file system has free.
free_blocks () {  # a range of clusters ends with the first block of its last one
    dumpe2fs "$1" 2> /dev/null | awk '
        /^Block size:/ { size = $3 }
        /^Cluster size:/ { cluster = $3 }
        /^  Free blocks: [0-9]/ {
            sub(/^  Free blocks: /, "")
            n = split($0, r, ", ")
            for (i = 1; i <= n; i++) {
                m = split(r[i], x, "-")
                printf "%.0f %.0f\n", x[1] * size, x[m] * size + (cluster ? cluster : size)
            }
        }' | awk '
        NR > 1 && $1 == end { end = $2; next }
        NR > 1 { print start, end }
        { start = $1; end = $2 }
        END { if (NR) print start, end }'
}

# punched RAW OFFSET FS UNIT: what RAW has to be when the whole units (counted from the
# beginning of the disk) that FS, which is at OFFSET, has free are zeros.  Prints their sum.
punched () {
    local raw=$1 offset=$2 fs=$3 unit=$4 start end a b sum=0
    while read -r start end; do
        a=$(((offset + start + unit - 1) / unit * unit))
        b=$(((offset + end) / unit * unit))
        [ $a -lt $b ] || continue
        fallocate -p -o $a -l $((b - a)) "$raw"
        sum=$((sum + b - a))
    done < <(free_blocks "$fs")
    echo $sum
}
