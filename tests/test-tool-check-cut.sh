#!/bin/bash
# A file cut at any sector is found damaged, or nothing that is needed is missing:
# then it reads as before.  And each table entry pushed out of the file is found.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need tool mkimage filter nbdcopy nbdkit:plugin:null

read_all () {
    nbdkit_run null size=$capacity delta-allow-no-parent=true delta="$1" --run 'nbdcopy "$uri" -' 2>/dev/null
}
# le32 NUMBER: as four escapes.
le32 () { printf '\\x%02x\\x%02x\\x%02x\\x%02x' $(($1 & 255)) $(($1 >> 8 & 255)) $(($1 >> 16 & 255)) $(($1 >> 24)); }

capacity=65536
"$MKIMAGE" make cowd cowd.vmdk --capacity=64K --fill=30 --scatter
"$MKIMAGE" make kdmv kdmv.vmdk --capacity=64K --grain=4K --fill=60
"$MKIMAGE" make stream stream.vmdk --capacity=64K --grain=4K --fill=60
"$MKIMAGE" make stream footer.vmdk --capacity=64K --grain=4K --fill=60 --footer
cuts=0 needless=0
for f in cowd kdmv stream footer; do
    "$TOOL" check $f.vmdk > /dev/null || fail "$f is not clean"
    read_all $f.vmdk > $f.raw
    sectors=$(($(stat -c %s $f.vmdk) / 512))
    for ((n = 0; n < sectors; n++)); do
        head -c $((n * 512)) $f.vmdk > cut.vmdk
        status=0
        "$TOOL" check cut.vmdk > out 2>&1 || status=$?
        cuts=$((cuts + 1))
        case $status in
            1|3) ;;
            0)  read_all cut.vmdk > cut.raw || fail "$f cut at $n: clean, but cannot be read"
                same $f.raw cut.raw
                needless=$((needless + 1)) ;;
            *)  cat out; fail "$f cut at $n: status $status" ;;
        esac
    done
done
echo "$cuts cuts, of which $needless took nothing that is needed"

# The table of cowd.vmdk is at sector 5, unless grains came first: one table.
sectors=$(($(stat -c %s cowd.vmdk) / 512))
table=$(od -An -tu4 -j 2048 -N 4 cowd.vmdk | tr -d ' ')
for ((i = 0; i < 128; i++)); do
    cp cowd.vmdk bad.vmdk
    printf "$(le32 $sectors)" | dd of=bad.vmdk bs=1 seek=$((table * 512 + 4 * i)) conv=notrunc status=none
    expect_fail "grain-outside-file \(1\)" "$TOOL" check bad.vmdk
    grep -q "disk bytes $((i * 512)) to $((i * 512 + 511))\]" "$T/output" || fail "entry $i: another range"
done
