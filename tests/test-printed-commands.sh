#!/bin/bash
# Commands that are printed for users can be given to a shell as they are: they are run here,
# for files whose names have blanks, quotes, dollars, a dash in front, "=", line ends and other
# control characters in them, and whose names are not UTF-8.  PRINTED_NAMES=all takes all
# names (long-printed-commands.sh); otherwise it is a few.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need tool plugin filter qemu-img nbdcopy

names=("it's \"a\" \$(touch x)" '-dash=b' $'-\033 100%\nline' $'b\xfcr\\n `touch x`')
if [ "${PRINTED_NAMES:-}" = all ]; then
    names+=('plain' 'two words' "it's" 'say "x"' '-dash' '--help' '$(touch x)' '`touch x`' '$HOME' 'a=b' '~' 'semi;colon & | > <'
        'back\slash\n' 'per%cent %d' '*?[a]' '{a,b}' '!bang' '#hash' $'new\nline' $'esc\033[31m' $'-\033dash' $'\t tab' $'b\xfcrger'
        $'\xe2\x80\xaebidi' 'Müller' $'%\007\\q'"'" ']' '[' 'nbd:' "$(printf 'x%.0s' {1..180})")
fi
# What ends with a line end is written with $'...', which is not of all shells.
sh=sh

# The programs as a user has them.
mkdir "$T/bin"
cat > "$T/bin/vmdkdelta" <<END
#!/bin/sh
exec "$TOOL" "\$@"
END
# nbdkit as it is called: our modules, and a command that copies in place of a server.
cat > "$T/bin/nbdkit" <<END
#!/bin/bash
args=()
for a; do case \$a in vmdk) a='$PLUGIN' ;; --filter=vmdkdelta) a='--filter=$FILTER' ;; esac; args+=("\$a"); done
export LD_PRELOAD="${NBDKIT_PRELOAD:-}"
[ "\${LISTEN_FDS:-}" ] || args+=(--run 'LD_PRELOAD= nbdcopy "\$uri" "\$OUT"')
exec $(type -P nbdkit) "\${args[@]}"
END
chmod +x "$T/bin/"*
export PATH="$T/bin:$PATH" OUT="$T/copied"
unset -f nbdkit

# commands FILE: those of a report, which are indented by 4.
commands () { sed -n 's/^    \(nbdkit\|nbdcopy\|vmdkdelta\)/\1/p' "$1"; }

# run_all WANT FILE: run all in it in this directory; what is copied is WANT.
ran=0
run_all () {
    local line
    while IFS= read -r line; do
        rm -f out.raw "$OUT"
        $sh -ec "${line//DIR/.}" > log 2>&1 || { cat log; fail "this does not work: $line"; }
        case $line in
            nbdcopy*) same out.raw "$1" ;;
            nbdkit*) same "$OUT" "$1" ;;
        esac
        ran=$((ran + 1))
    done < <(commands "$2")
}

head -c 128K /dev/urandom > old.img
cp old.img new.img
head -c 64K /dev/urandom | dd of=new.img bs=64K seek=1 conv=notrunc status=none
one () {
    local n=$1 f=./$1 line undo
    mkdir "$T/d"; cd "$T/d"
    # info of a whole disk; of a child; of one whose parent is elsewhere.  (They are renamed,
    # since not all names can be in a descriptor.)
    qemu-img convert -f raw -O vmdk ../old.img base.vmdk
    "$TOOL" snapshot base.vmdk child.vmdk > /dev/null
    cp base.vmdk "$f.vmdk"
    mv child.vmdk "$f-child.vmdk"
    "$TOOL" info -- "$n.vmdk" > ../report || fail "info $n"
    run_all ../old.img ../report
    "$TOOL" info -- "$n-child.vmdk" > ../report
    run_all ../old.img ../report
    mkdir away; mv base.vmdk away/
    "$TOOL" info -- "$n-child.vmdk" > ../report || :
    line=$(commands ../report | grep -- --parent-path)
    $sh -ec "${line//DIR/away}" > log || { cat log; fail "$line"; }
    grep -q 'to read this disk as the virtual machine saw it' log || fail "$(cat log)"
    ran=$((ran + 1))
    cp ../old.img "$f.raw"
    # what cannot be in a descriptor (its extent line) is refused
    undo=$f-undo.vmdk
    [[ $n != *[$'"\n\r\t\033\007']* ]] || undo="it's an undo.vmdk"
    # create, apply with an undo file, and back
    "$TOOL" create --from "$f.raw" --to ../new.img --parent-hint=x -- d.vmdk > out 2> /dev/null
    line=$(sed -n 's/^next: //p' out)
    rm -f "$OUT"; $sh -ec "$line" > log 2>&1 || { cat log; fail "this does not work: $line"; }
    same "$OUT" ../new.img
    "$TOOL" apply --state="$f state" --undo="$undo" -- d.vmdk "$n.raw" > out
    same "$f.raw" ../new.img
    line=$(sed -n 's/^undo .*to undo everything: //p' out)
    $sh -ec "$line" > log 2>&1 || { cat log; fail "this does not work: $line"; }
    same "$f.raw" ../old.img
    # what another step is told
    "$TOOL" apply --undo="${undo%.vmdk}2.vmdk" -- d.vmdk "$n.raw" > /dev/null
    "$TOOL" create --from ../new.img --to ../old.img --parent-cid=12345678 -- e.vmdk > out 2>&1
    if ! "$TOOL" apply -- e.vmdk "$n.raw" > log 2>&1; then
        line=$(sed -n 's/.*; to go back: \(.*\) (noted in .*/\1/p' log)
        [ "$line" ] || fail "no way back: $(cat log)"
        $sh -ec "$line" > log 2>&1 || { cat log; fail "this does not work: $line"; }
        same "$f.raw" ../old.img
        ran=$((ran + 2))
    fi
    ran=$((ran + 2))
    [ ! -e x ] || fail "$n: a command in a name was run"
    # bare deltas, all of which are in the command
    cd "$T"; rm -rf d
}
for n in "${names[@]}"; do one "$n"; done
sh=bash
[ "${PRINTED_NAMES:-}" != all ] || one $'ends with\n'

# A flat disk, which nbdkit's file plugin reads; a new delta on a VMDK.
mkdir flat; cd flat
cp ../old.img "a=b it's-flat.vmdk"
printf '# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\ncreateType="monolithicFlat"\nRW 256 FLAT "a=b it%ss-flat.vmdk" 0\n' \' > flat.vmdk
"$TOOL" info flat.vmdk > ../report
grep -q 'nbdkit file file=' ../report || fail "$(cat ../report)"
run_all ../old.img ../report
"$TOOL" create --from flat.vmdk --to ../new.img "c=d it's.vmdk" > out
rm -f "$OUT"; $sh -ec "$(sed -n 's/^next: //p' out)" > log 2>&1 || { cat log; fail "$(cat out)"; }
same "$OUT" ../new.img
# (The command that completes a merge: test-merge-interrupted.sh.)
cd "$T"
[ -z "$(find . -name x)" ] || fail 'a command in a name was run'
echo "$ran commands for $((${#names[@]} + 1)) names"
