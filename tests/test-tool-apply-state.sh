#!/bin/bash
# The target remembers what was applied to it.  A table of commands, right and wrong, each
# from several states, on a file, a flat file with its descriptor, a loop device and an NBD
# export: a command either gives the disk that the table says, or is refused and changes
# nothing.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need tool mkimage filter nbdcopy perl

# ---- Disks -----------------------------------------------------------------------

# delta NAME PARENT PARENT-CID CID SEED [FORMAT]
delta () {
    "$MKIMAGE" make "${6:-cowd}" "$1-delta.vmdk" --capacity=1M --grain=4K --fill=40 --descriptor="$1.vmdk" \
        --parent="$2" --parent-cid="$3" --cid="$4" --seed="$5"
}
delta d1 base.vmdk 00000001 00000002 1
delta d2 d1.vmdk 00000002 00000003 2
delta d3 d2.vmdk 00000003 00000004 3
delta s1 base.vmdk 00000001 00000006 4    # beside d1
delta s2 d1.vmdk 00000002 00000005 5      # beside d2
delta f x.vmdk 0000000a 0000000b 6        # of another disk
delta f2 x.vmdk 0000000a 00000003 6       # with the CID of d2, by chance
delta q d1.vmdk 00000002 00000002 7       # its own CID was not noted yet
delta q2 d1.vmdk 00000002 00000002 8      # and another one
"$MKIMAGE" make cowd r-delta.vmdk --capacity=1M --grain=4K --fill=40 --descriptor=r.vmdk \
    --parent-cid=fffffffe --cid=0000000c --seed=9  # made for a raw disk
cp d2-delta.vmdk bare.vmdk
cp d3-delta.vmdk bare3.vmdk
"$MKIMAGE" make cowd full1.vmdk --capacity=1M --grain=4K --fill=100 --seed=20
"$MKIMAGE" make cowd full2.vmdk --capacity=1M --grain=4K --fill=100 --seed=21
delta l base.vmdk 00000001 0000000d 10
sed -i 's/^RW 2048/RW 1024/' l.vmdk       # a smaller disk
mkdir later
# What d2 is later: it has grown, and its CID is the same.
cp d1.vmdk d1-delta.vmdk later/
"$MKIMAGE" make cowd later/d2-delta.vmdk --capacity=1M --grain=4K --fill=100 --descriptor=later/d2.vmdk \
    --parent=d1.vmdk --parent-cid=00000002 --cid=00000003 --seed=12

# What is expected comes from the filter.
head -c 1M /dev/urandom > c0
make_model () {  # TO FROM DELTA
    nbdkit_run file "$2" delta="$3" delta-follow=false --run "nbdcopy \"\$uri\" $1"
}
make_model c1 c0 d1.vmdk
make_model c2 c1 d2.vmdk
make_model c3 c2 d3.vmdk
make_model cl c1 later/d2.vmdk
make_model cq c1 q.vmdk
make_model cr c0 r.vmdk

# ---- Targets ---------------------------------------------------------------------

kind=file target=t
options=()
store=t     # where its bytes are

descriptor () {
    printf '# Disk DescriptorFile\nversion=1\nCID=%s\nparentCID=ffffffff\ncreateType="vmfs"\nRW 2048 VMFS "t-flat.vmdk"\n' "$1" > t.vmdk
}
put () { dd if="$1" of="$store" bs=1M conv=notrunc status=none; }
state_file () { if [ $kind = file ] || [ $kind = flat ]; then echo "$target.vmdkdelta-state"; else echo state; fi; }
cid_of () { sed -n 's/^CID=//p' t.vmdk; }

apply () { "$TOOL" apply --no-follow "${options[@]}" "$@" "$target"; }
begin () {
    rm -f "$(state_file)" u1.vmdk u2.vmdk
    put c0
    [ $kind != flat ] || descriptor 00000001
    save=$T/save-$kind
    mkdir -p "$save"
}
# What the target is now, for "back".
keep () {
    cp --preserve=timestamps "$store" "$save/$1" 2>/dev/null || dd if="$store" of="$save/$1" bs=1M status=none
    cp "$(state_file)" "$save/$1.state"
    [ $kind != flat ] || cp t.vmdk "$save/$1.vmdk"
}
back () {
    if [ $kind = file ] || [ $kind = flat ]; then cp --preserve=timestamps "$save/$1" "$store"; else put "$save/$1"; fi
    cp "$save/$1.state" "$(state_file)"
    [ $kind != flat ] || cp "$save/$1.vmdk" t.vmdk
}

# States: 1 and 2 after d1 and d2; b when d2 was undone; h when d2 was interrupted.
states () {
    begin
    apply --quiet --undo=u1.vmdk d1.vmdk 2> err || { cat err; fail "$kind: d1"; }
    cmp -n 1048576 "$store" c1
    keep 1
    apply --quiet --undo=u2.vmdk d2.vmdk 2> err || { cat err; fail "$kind: d2"; }
    cmp -n 1048576 "$store" c2
    keep 2
    apply --quiet u2.vmdk 2> err || { cat err; fail "$kind: u2"; }
    cmp -n 1048576 "$store" c1
    keep b
    # Interrupted: the note is that of the beginning, and the data of the middle.
    back 2
    perl "$top_srcdir/tests/drive/half-note.pl" "$(state_file)"
    { head -c 600K c2; tail -c +614401 c1; } > half
    put half
    [ $kind != flat ] || descriptor "$(cat temp)"
    keep h
}

n=0 refused=0 right=0
# try STATE WANT DELTA...: WANT is the content then, "=" for status 0 with nothing written,
# or "refused REGEX".
try () {
    local status=0 want=$2 before
    back "$1"
    cp "$(state_file)" note
    dd if="$store" of=was bs=1M status=none
    apply "${@:3}" > out 2>&1 || status=$?
    n=$((n + 1))
    dd if="$store" of=now bs=1M count=1 status=none
    what="$kind, state $1, apply ${*:3}"
    if [[ $want = refused* ]]; then
        [ $status -eq 1 ] || { cat out; fail "$what: status $status"; }
        grep -Eq -e "${want#refused }" out || { cat out; fail "$what: not said: ${want#refused }"; }
        same was now
        same note "$(state_file)"
        refused=$((refused + 1))
        return
    fi
    [ $status -eq 0 ] || { cat out; fail "$what: status $status"; }
    right=$((right + 1))
    if [ "$want" = = ]; then
        grep -q 'nothing was written' out || { cat out; fail "$what: not said that nothing was written"; }
        same was now
        same note "$(state_file)"
        return
    fi
    cmp now "$want" || { cat out; fail "$what: it is not $want"; }
    if [ $kind = flat ]; then
        case $want in c1) want=00000002 ;; c2|cl) want=00000003 ;; c3) want=00000004 ;; *) want= ;; esac
        if [ "$want" ]; then [ "$(cid_of)" = "$want" ] || fail "$what: the descriptor says $(cid_of)"; fi
    fi
}

all () {
    states
    both='refused content 0000000. of content 0000000..*holds content 0000000'
    # The next step; again; an older one; a step that was left out.
    try 1 c2 d2.vmdk
    try 2 = d2.vmdk
    try 2 c3 d3.vmdk
    try 1 = d1.vmdk
    try 2 "refused past that step" d1.vmdk
    try 1 "$both" d3.vmdk
    try b "refused step between is missing" d3.vmdk
    # All of it at once, which holds what is there.
    try 1 c2 d1.vmdk d2.vmdk
    try 2 c3 d1.vmdk d2.vmdk d3.vmdk
    # Siblings, other disks, what has no name.
    try 1 "refused beside the one" s1.vmdk
    try 2 "refused beside the one" s1.vmdk
    try 2 "refused beside the one.*to go back: vmdkdelta apply .*u2.vmdk" s2.vmdk
    try 1 "refused content 0000000b of content 0000000a.*holds content 00000002" f.vmdk
    try 2 "refused holds content 00000003" f.vmdk
    try 2 "refused not a later copy" f2.vmdk
    try 1 "refused cannot be seen" r.vmdk
    try 2 = bare.vmdk
    try 1 "refused cannot be seen" bare.vmdk
    try 2 "refused cannot be seen" bare3.vmdk
    try 1 "refused is for a disk of" l.vmdk
    # A later copy of what is there; earlier ones hold less.
    try 2 cl later/d2.vmdk
    # Undo files.
    try 2 c1 u2.vmdk
    try 1 c0 u1.vmdk
    try 2 "refused newer ones must be undone first" u1.vmdk
    try 1 = u2.vmdk
    try b c2 d2.vmdk
    try b c0 u1.vmdk
    try b = u2.vmdk
    # Half written.
    try h c2 d2.vmdk
    try h c1 u2.vmdk
    try h "refused half written.*d2.vmdk again.*to go back.*u2.vmdk" d1.vmdk
    try h "refused half written" d3.vmdk
    try h "refused half written" s2.vmdk
    try h "refused half written" f.vmdk
    try h "refused half written" r.vmdk
    try h c2 bare.vmdk  # the very same data
    try h "refused half written" bare3.vmdk
    try h "refused half written" u1.vmdk
    try h "refused half written" q.vmdk
    try h "refused is in .*u2.vmdk" --undo=new.vmdk d2.vmdk
    [ ! -e new.vmdk ] || fail 'an undo file of something half written'
    # Its CID was not noted when it was copied.
    try 1 cq q.vmdk
}

# after STATE TEXT COMMAND...: somebody else has written.
foreign () {
    local s
    for s in 1 2 b; do
        back $s
        "$@"
        keep w
        for delta in d1 d2 d3 u1 u2; do try w "refused (written to|copied) .*something else|says that|does not undo" $delta.vmdk; done
    done
}
one_byte () { printf x | dd of="$store" bs=1 seek="$1" conv=notrunc status=none; }

all
# The time of a file tells it, wherever it is; with other times, or none, samples do.
later () { one_byte "$1"; touch -d '2030-01-01' "$store"; }
foreign later 700001
foreign later 1048575
# It was copied anew: nothing is known.
back 2
cp c0 t
apply d1.vmdk > out 2> err || { cat err; fail 'copied anew'; }
grep -q 'copied anew' out
same t c1
# Told to.
back 2
later 100000
apply --ignore-state s1.vmdk > out 2> err || { cat err; fail '--ignore-state'; }
grep -q 'warning: .*written to by something else.*; going on as asked' err
# The note is damaged, of another version, or no file.
for bad in 's/^disk .*/disk 0/' 's/^end/And/' 's/^vmdkdelta-state 1/vmdkdelta-state 2/' 's/^sample [0-9]*/sample 1048576/' '3,5d'; do
    back 2
    sed -i "$bad" t.vmdkdelta-state
    expect_fail 'damaged, or was written by another version' apply d3.vmdk
    same t c2
done
# It cannot be written: nothing is.
cp c1 other
expect_fail '--state=FILE names another place' "$TOOL" apply --no-follow --state=none/x d2.vmdk other
same other c1
rm other

# A note is in one place.
back 2
expect_fail 'noted in .*t.vmdkdelta-state already' apply --state=other d1.vmdk
[ ! -e other ] || fail 'a second note'
same t c2
apply --state=t.vmdkdelta-state d3.vmdk > out
same t c3

# Two deltas without names, whose grains lie in the same places.
begin
apply --quiet full1.vmdk 2> err
cp t full
perl "$top_srcdir/tests/drive/half-note.pl" t.vmdkdelta-state
expect_fail 'half written' apply full2.vmdk
same t full
apply full1.vmdk > out 2> err || { cat err; fail 'the same again'; }
same t full

kind=flat target=t-flat.vmdk store=t-flat.vmdk
cp c0 t-flat.vmdk
all
foreign later 700001
# Another program has written the descriptor: it has other things to say.
back 2
sed -i 's/^CID=.*/CID=0000dead/' t.vmdk
expect_fail 'says that .* has content 0000dead.* but 00000003 was noted' apply d3.vmdk
same t-flat.vmdk c2
# Without the note the descriptor tells.
back 2
rm t-flat.vmdk.vmdkdelta-state
expect_fail '00000001.*00000003' apply d1.vmdk
expect_fail '00000002.*00000003' apply s2.vmdk
same t-flat.vmdk c2
apply d2.vmdk > out
grep -q 'nothing was written' out
apply d3.vmdk > out
same t-flat.vmdk c3
[ "$(cid_of)" = 00000004 ] || fail "the descriptor says $(cid_of)"
# With the CID of d2, and other data: no note says that it is d2.
back 1
rm t-flat.vmdk.vmdkdelta-state
descriptor 00000003
expect_fail '00000002.*00000003' apply d2.vmdk
same t-flat.vmdk c1
# The descriptor is a symbolic link; and it cannot be replaced.
back 1
mv t.vmdk elsewhere
ln -s elsewhere t.vmdk
apply d2.vmdk > out
[ -L t.vmdk ] || fail 'the symbolic link was replaced'
same t-flat.vmdk c2
[ "$(cid_of)" = 00000003 ] || fail "behind a link the descriptor says $(cid_of)"
rm t.vmdk elsewhere
back 1
cp t-flat.vmdk.vmdkdelta-state note
long=$(printf 'x%.0s' {1..250})     # there is no room for a temporary name beside it
mv t.vmdk "$long"
ln -s "$long" t.vmdk
expect_fail 'File name too long' apply d2.vmdk
same note t-flat.vmdk.vmdkdelta-state
same t-flat.vmdk c1
rm t-flat.vmdk.vmdkdelta-state
expect_fail 'File name too long' apply d2.vmdk
[ ! -e t-flat.vmdk.vmdkdelta-state ] || fail 'a note, though nothing was written'
same t-flat.vmdk c1
rm t.vmdk "$long"

kind=nbd store=disk target=
cp c0 disk
options=(--state=state)
start file disk
target=$uri
all
foreign one_byte 1024
stop
# Without a note an undo file knows what it needs.
begin
start file disk
"$TOOL" apply --quiet --undo=u1.vmdk d1.vmdk "$uri" 2> err
"$TOOL" apply --quiet u1.vmdk "$uri" 2> err
cmp disk c0
put c3
expect_fail 'u1.vmdk does not undo anything on' "$TOOL" apply u1.vmdk "$uri"
cmp disk c3
"$TOOL" apply u1.vmdk "$uri" --state=other > out 2> err && fail 'another disk'
[ ! -e other ] || fail 'a note of what was refused'
stop
echo "$n commands: $right right, $refused refused"

if loop=$(losetup --find --show disk 2> /dev/null); then
    on_exit 'losetup -d "$loop"'
    kind=loop store=$loop target=$loop
    all
    foreign one_byte 1024
    echo "with a loop device: $n commands: $right right, $refused refused"
else
    echo 'not tried: loop devices cannot be made here'
fi
