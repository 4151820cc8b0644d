#!/bin/bash
# VirtualBox itself makes a machine with snapshots, and judges what we make of it: after
# each way to merge, and after compacting, it finds the machine, its snapshots and disks in
# order, reads from them what it read before, and works on with them.  It needs no module
# of the kernel for that.  "make vbox-test" brings VirtualBox along.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/virtualbox.sh"
need plugin tool vbox-img qemu-io nbdcopy perl

vb () { VBoxManage "$@" > vb.log 2>&1 || { cat vb.log; fail "VBoxManage $*"; }; }

# current: the media that the machine has now, one a line.
current () {
    VBoxManage showvminfo m --machinereadable | sed -n 's/^"sata-[0-9]-0"="\(\/.*\)"/\1/p'
}

# digests: of what VirtualBox reads from the media on stdin.
digests () {
    local medium
    while read -r medium; do
        vb clonemedium "$medium" "$T/clone.raw" --format RAW
        sha256 "$T/clone.raw"
        vb closemedium "$T/clone.raw" --delete
    done
}

# ---- Its machine ------------------------------------------------------------------

# vdi_block FILE BLOCK BYTE: put in a block of 1 MiB that is not there yet.
vdi_block () {
    perl -e '
        my ($name, $block, $byte) = @ARGV;
        open my $f, "+<:raw", $name or die; local $/; my $all = <$f>;
        my ($map, $data) = unpack "V2", substr $all, 0x154, 8;
        my ($size, $n) = unpack "V x8 V", substr $all, 0x178, 16;
        unpack ("V", substr $all, $map + 4 * $block, 4) == 0xffffffff or die "block $block is there";
        seek $f, $data + $n * $size, 0; print $f chr ($byte) x $size;
        seek $f, $map + 4 * $block, 0; print $f pack "V", $n;
        seek $f, 0x184, 0; print $f pack "V", $n + 1;' "$@"
}

head -c 20M /dev/urandom > base.raw
dd if=/dev/zero of=base.raw bs=1M seek=5 count=4 conv=notrunc status=none
vb createvm --name m --register --basefolder "$T"
vb storagectl m --name sata --add sata --portcount 4
port=0
for how in VDI/Standard VDI/Fixed VMDK/Standard VMDK/Split2G; do
    disk=$T/m/disk$port.$(tr '[:upper:]' '[:lower:]' <<< "${how%/*}")
    vb convertfromraw base.raw "$disk" --format "${how%/*}" --variant "${how#*/}"
    vb storageattach m --storagectl sata --port $port --device 0 --type hdd --medium "$disk"
    port=$((port + 1))
done
current > level0
for i in 1 2 3; do
    vb snapshot m take s$i
    current > level$i
    while read -r disk; do
        # Some sectors are written by VirtualBox, and then whole blocks put in.
        [ $i = 3 ] || vb mediumio "--disk=$disk" formatfat --quick
        case $disk in
            *.vdi) vdi_block "$disk" $((3 + i)) 6$i
                   vdi_block "$disk" $((14 + i % 2)) 6$i
                   vdi_block "$disk" $((15 + i)) 0 ;;
            *) qemu-io -f vmdk -c "write -q -P 6$i $((3 + i))M 448k" \
                   -c "write -q -P 6$i $((14 + i % 2))M 64k" \
                   -c "write -q -P 0 $((15 + i))M 640k" "$disk" > /dev/null ;;
        esac
    done < level$i
done
for i in 0 1 2 3; do
    [ "$(wc -l < level$i)" = 4 ] || fail "level $i: $(cat level$i)"
    digests < level$i > sums$i
done
[ "$(cat sums? | sort -u | wc -l)" = 13 ] || fail "not the disks that were to be: $(grep -H . sums?)"
vb unregistervm m

# We read the same, level by level.
for i in 0 1 2 3; do
    while read -r disk && read -r sum <&3; do
        start "$PLUGIN" "file=$disk" 2> /dev/null
        [ "$(nbdcopy "$uri" - | sha256sum)" = "$sum  -" ] || fail "$disk: VirtualBox reads other bytes"
        stop
    done < level$i 3< sums$i
done

# ---- Its judgement ----------------------------------------------------------------

# judge NAME SNAPSHOTS CURRENT BASE: of the machine in NAME/m; CURRENT and BASE are the
# levels whose bytes the current media and the lowest ones must have.
judge () {
    local found bases=$T/$1/bases
    vbox_home "$1"
    VBoxManage showvminfo m > /dev/null 2>&1 || vb registervm "$T/$1/m/m.vbox"
    found=$(VBoxManage snapshot m list 2>/dev/null | sed -n 's/^ *Name: \([^ ]*\) .*/\1/p' | paste -sd,) || :
    [ "$found" = "$2" ] || fail "$1: snapshots '$found', expected '$2'"
    VBoxManage list hdds > hdds
    ! grep '^State:' hdds | grep -v ' created$' || fail "$1: $(cat hdds)"
    [ "$(current | digests)" = "$(cat "sums$3")" ] || fail "$1: the current disks read differently"
    sed "s,^$T/,$T/$1/," level0 > "$bases"
    [ "$(digests < "$bases")" = "$(cat "sums$4")" ] || fail "$1: the lowest disks read differently"
    while read -r disk; do
        case $disk in *.vdi)
            vbox-img repair --dry-run --filename "$disk" > repair 2>&1 || :
            grep -q 'no repair required' repair || fail "$1: $disk: $(cat repair)" ;;
        esac
    done < <(sed -n 's/^Location: *//p' hdds)
    # It works on with them.
    vb snapshot m take after
    vb snapshot m delete after
    [ "$(current | digests)" = "$(cat "sums$3")" ] || fail "$1: they read differently after another snapshot"
    vb unregistervm m
    rm -rf "${T:?}/$1"
    judged=$((judged + 1))
}
judged=0

# merged NAME SNAPSHOTS CURRENT BASE OPTIONS...
merged () {
    local name=$1 snapshots=$2 current=$3 base=$4
    shift 4
    mkdir "$name"
    cp -a m "$name/m"
    "$TOOL" merge --quiet "$@" "$name/m/m.vbox" 2> err || { cat err; fail "merge $*"; }
    judge "$name" "$snapshots" "$current" "$base"
}
merged all '' 3 3
merged skip s3 3 2 --skip=1
merged count s1 3 0 --count=2
merged middle s1,s3 3 0 --skip=1 --count=1
merged snapshot merged 3 3 --snapshot=merged --compact
merged discard '' 2 2 --discard-current --yes
merged keep '' 3 3 --keep
merged interrupted s2,s3 3 1 --skip=2

# One that VirtualBox knows, as a user has it.
mkdir known
cp -a m known/m
vbox_home known
vb registervm "$T/known/m/m.vbox"
vbox_gone
"$TOOL" merge --quiet --skip=1 known/m/m.vbox 2> err || { cat err; fail 'merge of a known machine'; }
judge known s3 3 2

# Children that VirtualBox has made larger than their bases: it can do that with VDI.  It
# cannot clone such a child, so its bytes are what we read.
mkdir grown
cp -a m grown/m
vbox_home grown
vb registervm "$T/grown/m/m.vbox"
current | head -n 2 > children
while read -r disk; do vb modifymedium "$disk" --resizebyte $((26 << 20)); done < children
vb unregistervm m
vbox_gone
while read -r disk; do
    start "$PLUGIN" "file=$disk" 2> /dev/null
    nbdcopy "$uri" - | sha256sum | cut -d ' ' -f 1
    stop
done < children > want
"$TOOL" merge --quiet grown/m/m.vbox 2> err || { cat err; fail 'merge of children that are larger'; }
vb registervm "$T/grown/m/m.vbox"
! VBoxManage list hdds | grep '^State:' | grep -v ' created$' || fail 'a grown medium is not accessible'
[ "$(current | head -n 2 | digests)" = "$(cat want)" ] || fail 'merged with larger children, they read differently'
for i in 0 1; do
    vbox-img repair --dry-run --filename grown/m/disk$i.vdi > repair 2>&1 || :
    grep -q 'no repair required' repair || fail "grown disk$i.vdi: $(cat repair)"
done
vb unregistervm m
judged=$((judged + 1))

# As made, and each image made smaller.
mkdir as-made compacted
cp -a m as-made/m
judge as-made s1,s2,s3 3 0
cp -a m compacted/m
n=0
while read -r disk; do
    disk=compacted${disk#"$T"}
    before=$(du -k "$disk" | cut -f 1)
    # The lowest in one file also to a new one, by VirtualBox's tool.
    case $disk in */disk[012].*)
        "$TOOL" compact --quiet --output=new "$disk" 2> err || { cat err; fail "compact --output=new $disk"; }
        vbox-img convert --srcfilename new --srcformat "$(tr '[:lower:]' '[:upper:]' <<< "${disk##*.}")" \
            --dstfilename new.raw --dstformat RAW > convert 2>&1 || { cat convert; fail "convert $disk"; }
        [ "$(sha256 new.raw)" = "$(head -n 1 sums0)" ] || fail "$disk made anew reads differently"
        rm new new.raw ;;
    esac
    "$TOOL" compact --quiet "$disk" 2> err || { cat err; fail "compact $disk"; }
    [ "$(du -k "$disk" | cut -f 1)" -ge "$before" ] || n=$((n + 1))
done < <(cat level?)
[ $n -ge 12 ] || fail "only $n images were made smaller"
judge compacted s1,s2,s3 3 0
echo "$judged machines judged by VirtualBox $(VBoxManage --version), $n images made smaller"
