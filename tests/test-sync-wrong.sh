#!/bin/bash
# Steps that are wrong, and right ones beside them, from every state that a target of sync can be
# in, over a file, a flat file with its descriptor, an NBD export and a loop device: each gives
# the disk that the table says, or is refused and changes nothing.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need tool mkimage filter nbdcopy perl

# ---- Sources: the same machine at three times, a branch, another machine ------------

flat () {  # DIR NAME CID
    printf '# Disk DescriptorFile\nversion=1\nCID=%s\nparentCID=ffffffff\ncreateType="vmfs"\nRW 2048 VMFS "%s-flat.vmdk"\n' "$3" "$2" > "$1/$2.vmdk"
}
delta () {  # DIR NAME PARENT PARENT-CID CID SEED
    (cd "$1" && "$MKIMAGE" make cowd "$2-delta.vmdk" --capacity=1M --grain=4K --fill=40 --descriptor="$2.vmdk" \
        --parent="$3" --parent-cid="$4" --cid="$5" --seed="$6")
}
mkdir s1 s2 s3 sib oth
head -c 1M /dev/urandom > c0
for d in s1 s2 s3 sib; do flat $d vm 00000001; cp c0 $d/vm-flat.vmdk; delta $d d1 vm.vmdk 00000001 00000002 1; done
delta s2 d2 d1.vmdk 00000002 00000003 2
delta s3 d2 d1.vmdk 00000002 00000003 2
delta s3 d3 d2.vmdk 00000003 00000004 3
delta sib b2 d1.vmdk 00000002 00000005 4
delta sib b3 b2.vmdk 00000005 00000006 5
flat oth vm 0000000a
head -c 1M /dev/urandom > oth/vm-flat.vmdk
delta oth f1 vm.vmdk 0000000a 0000000b 6
make_model () { nbdkit_run file "$2" delta="$3" delta-follow=false --run "nbdcopy \"\$uri\" $1"; }
make_model c1 c0 s3/d1.vmdk
make_model c2 c1 s3/d2.vmdk
make_model c3 c2 s3/d3.vmdk
make_model cb c1 sib/b2.vmdk

# ---- Targets ---------------------------------------------------------------------

kind=file target=t store=t options=()
state_file () { if [ $kind = file ] || [ $kind = flat ]; then echo "$target.vmdkdelta-state"; else echo state; fi; }
put () { dd if="$1" of="$store" bs=1M conv=notrunc status=none; }
get () { dd if="$store" of="$1" bs=1M count=1 status=none; }
keep () {
    cp --preserve=timestamps "$store" "$save/$1" 2> /dev/null || get "$save/$1"
    rm -f "$save/$1".*
    [ ! -e "$(state_file)" ] || cp "$(state_file)" "$save/$1.state"
    [ $kind != flat ] || cp t.vmdk "$save/$1.vmdk"
}
back () {
    if [ $kind = file ] || [ $kind = flat ]; then cp --preserve=timestamps "$save/$1" "$store"; else put "$save/$1"; fi
    rm -f "$(state_file)"
    [ ! -e "$save/$1.state" ] || cp "$save/$1.state" "$(state_file)"
    [ $kind != flat ] || cp "$save/$1.vmdk" t.vmdk
}
run () { "$TOOL" "$1" "${options[@]}" "${@:2}" "$target"; }
right () { run sync "${@:2}" > out 2>&1 || { cat out; fail "$kind: sync ${*:2}"; }; get now; cmp now "$1" || fail "$kind: sync ${*:2} is not $1"; }

half () {  # NAME FROM TO: FROM became TO up to its middle
    perl "$top_srcdir/tests/drive/half-note.pl" "$(state_file)"
    { head -c 600K "$3"; tail -c +614401 "$2"; } > mixed
    put mixed
    [ $kind != flat ] || sed -i "s/^CID=.*/CID=$(cat temp)/" t.vmdk
    keep "$1"
}

# 0 blank; g garbage; 1, 2, 3 after s1, s2, s3; e at the end of s3; h the step to s2 interrupted;
# c the first copy, of s2; w something else wrote.
states () {
    save=$T/save-$kind
    mkdir -p "$save"
    rm -f "$(state_file)"
    [ $kind != flat ] || flat . t 000000dd
    head -c 1M /dev/zero > zeros
    put zeros
    keep 0
    head -c 1M /dev/urandom > garbage
    put garbage
    keep g
    back 0
    right c0 s1/d1.vmdk
    keep 1
    right c1 s2/d2.vmdk
    keep 2
    half h c0 c1
    back 2
    right c2 s3/d3.vmdk
    keep 3
    right c3 --final s3/d3.vmdk
    keep e
    back 0
    right c1 s2/d2.vmdk
    half c zeros c1
    back 2
    printf x | dd of="$store" bs=1 seek=1024 conv=notrunc status=none
    keep w
}

n=0 refused=0
# try STATE WANT VERB ARGS...: WANT is the content then, "=" for nothing written, or a regular
# expression with which it is refused.
try () {
    local status=0 want=$2 what
    back "$1"
    [ ! -e "$(state_file)" ] || cp "$(state_file)" note
    get was
    run "${@:3}" > out 2>&1 || status=$?
    get now
    n=$((n + 1)) what="$kind, state $1: ${*:3}"
    case $want in
        =) [ $status -eq 0 ] || { cat out; fail "$what: status $status"; }
           grep -q 'nothing was written' out || { cat out; fail "$what: something was written"; }
           cmp was now || fail "$what" ;;
        c?) [ $status -eq 0 ] || { cat out; fail "$what: status $status"; }
            cmp now "$want" || { cat out; fail "$what: it is not $want"; } ;;
        *) [ $status -eq 1 ] || { cat out; fail "$what: status $status"; }
           grep -Eq -e "$want" out || { cat out; fail "$what: not said: $want"; }
           cmp was now || fail "$what: changed"
           if [ -e "$(state_file)" ]; then same note "$(state_file)"; fi
           refused=$((refused + 1)) ;;
    esac
}

all () {
    local s step
    states
    while read -r s step; do
        case $s in ''|'#'*) continue ;; esac
        # shellcheck disable=SC2086
        try $s $step
    done <<'X'
# blank: whatever it is
0 c0 sync s1/d1.vmdk
0 c2 sync s3/d3.vmdk
0 c3 sync --final s3/d3.vmdk
# garbage
g holds.data|another.disk sync s1/d1.vmdk
g holds.data|another.disk sync --final s3/d3.vmdk
g holds.data|another.disk sync oth/f1.vmdk
g no.frozen.link sync --holds=oth/vm.vmdk s1/d1.vmdk
g no.frozen.link sync --holds=s1/d1.vmdk s1/d1.vmdk
g c1 sync --ignore-state s2/d2.vmdk
# after s1
1 = sync s1/d1.vmdk
1 c1 sync s2/d2.vmdk
1 c2 sync s3/d3.vmdk
1 c3 sync --final s3/d3.vmdk
1 cb sync sib/b3.vmdk
1 another.disk sync oth/f1.vmdk
1 another.disk sync --final oth/f1.vmdk
1 step.between.is.missing apply --no-follow s3/d2.vmdk
1 step.between.is.missing apply --no-follow s3/d3.vmdk
1 holds.content.00000001 apply --no-follow oth/f1.vmdk
1 no.--holds sync --holds=s2/d1.vmdk s2/d2.vmdk
# after s2
2 = sync s1/d1.vmdk
2 = sync --final s1/d1.vmdk
2 = sync s2/d2.vmdk
2 c2 sync s3/d3.vmdk
2 cb sync sib/b3.vmdk
2 another.disk sync oth/f1.vmdk
2 another.disk sync --final oth/f1.vmdk
2 step.between.is.missing apply --no-follow s3/d3.vmdk
2 = apply --no-follow s3/d1.vmdk
# after s3
3 further sync s1/d1.vmdk
3 further sync --final s1/d1.vmdk
3 = sync s2/d2.vmdk
3 = sync s3/d3.vmdk
3 cb sync sib/b3.vmdk
3 another.disk sync oth/f1.vmdk
3 past.that.step apply --no-follow s3/d1.vmdk
3 beside.the.one apply --no-follow sib/b2.vmdk
# at the end
e = sync s3/d3.vmdk
e c3 sync --final s3/d3.vmdk
e further sync s2/d2.vmdk
e further sync --final s2/d2.vmdk
e further sync s1/d1.vmdk
e further sync --final s1/d1.vmdk
e another.disk sync oth/f1.vmdk
e past.that.step apply --no-follow s3/d1.vmdk
e past.that.step apply --no-follow s3/d2.vmdk
# interrupted between two steps
h c1 sync s2/d2.vmdk
h c2 sync s3/d3.vmdk
h c3 sync --final s3/d3.vmdk
h half.written sync s1/d1.vmdk
h half.written sync oth/f1.vmdk
h half.written sync --final oth/f1.vmdk
h half.written apply --no-follow s3/d1.vmdk
h half.written apply --no-follow s3/d2.vmdk
h half.written apply s3/d3.vmdk
h no.--holds sync --holds=s2/vm.vmdk s2/d2.vmdk
# interrupted in the first copy
c c1 sync s2/d2.vmdk
c c2 sync s3/d3.vmdk
c half.written sync s1/d1.vmdk
c half.written sync oth/f1.vmdk
c half.written sync --final oth/f1.vmdk
c half.written apply --no-follow s3/d1.vmdk
c half.written apply s3/d2.vmdk
c half.written apply --no-follow oth/f1.vmdk
# something else wrote
w written.to sync s1/d1.vmdk
w written.to sync s2/d2.vmdk
w written.to sync s3/d3.vmdk
w written.to sync --final s3/d3.vmdk
w written.to sync sib/b3.vmdk
w written.to sync oth/f1.vmdk
w written.to apply --no-follow s3/d2.vmdk
w c1 sync --ignore-state s2/d2.vmdk
X
    [ $kind != flat ] || [ "$(sed -n 's/^CID=//p' t.vmdk)" = 00000002 ] || fail 'the descriptor does not follow'
}

# KINDS: long-sync-wrong has all.
: "${KINDS:=file nbd}"
tried=0
for kind in $KINDS; do
    case $kind in
        file)
            target=t store=t options=() ;;
        flat)
            target=t-flat.vmdk store=t-flat.vmdk options=() ;;
        nbd)
            store=disk options=(--state=state)
            head -c 1M /dev/zero > disk
            start file disk
            target=$uri ;;
        loop)
            head -c 1M /dev/zero > disk
            loop=$(losetup --find --show disk 2> /dev/null) || { echo 'not tried: loop devices cannot be made here'; continue; }
            on_exit 'losetup -d "$loop"'
            store=$loop target=$loop options=(--state=state) ;;
    esac
    [ -e "$store" ] || head -c 1M /dev/zero > "$store"
    all
    [ $kind != nbd ] || stop
    tried=$((tried + 1))
    echo "$kind: $n steps so far, of them $refused refused"
done
[ $refused -ge $((40 * tried)) ] || fail "only $refused wrong steps"
