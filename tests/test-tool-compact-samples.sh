#!/bin/bash
# Chains that VirtualBox, VMware and QEMU made: all links are compacted, in place and (those
# in one file) to new files, and every level reads as before, the newest as its maker said.
#
# VMDKDELTA_SAMPLES=DIR takes the archives of that directory instead of tests/data.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/samples.sh"
need tool plugin xz nbdcopy nbdinfo qemu-img

compacted=0 refused=0 copied=0

# levels: the digests of all disks of this directory and those below it.
levels () {
    local dir uri
    while read -r dir; do
        start "$PLUGIN" "dir=$dir" > /dev/null 2>&1
        while read -r export; do
            printf '%s %s\n' "$dir/$export" "$(nbdcopy "nbd+unix:///$(sed 's/{/%7B/g; s/}/%7D/g' <<< "$export")?socket=$sock" - | sha256sum)"
        done < <(nbdinfo --list "$uri" | sed -n 's/^export="\(.*\)":$/\1/p' | sort)
        stop
    done < <(find . -type f \( -name '*.vmdk' -o -name '*.vdi' \) -printf '%h\n' | sort -u)
}

compact_all () {
    local file size
    while read -r file; do
        size=$(stat -c %s "$file")
        if "$TOOL" compact --quiet --dry-run "$file" > /dev/null 2> log; then
            if "$TOOL" compact --quiet --output=new "$file" 2> log; then
                [ "$(stat -c %s new)" -le "$size" ] || fail "$name: $file: the new file is larger"
                case $file in
                    *.vdi) "$TOOL" check new > log 2>&1 || fail "$name: $file: $(cat log)" ;;
                esac
                mv new "$file.new"
                copied=$((copied + 1))
            fi
            "$TOOL" compact --quiet "$file" 2> log || fail "$name: $file: $(cat log)"
            "$TOOL" check "$file" > log 2>&1 || fail "$name: check $file: $(cat log)"
            compacted=$((compacted + 1))
        else
            refused=$((refused + 1))
        fi
    done < <(find . -type f \( -name '*.vmdk' -o -name '*.vdi' \) ! -name '*-flat.vmdk' ! -name '*-f00?.vmdk' | sort)
}

check_sample () {
    local file
    case $name in *2600g*|*-neg-*|*splitaligned*) return ;; esac
    levels > "$T/before"
    compact_all
    find . -name '*.new' > "$T/new"
    mkdir "$T/aside"
    while read -r file; do mkdir -p "$T/aside/${file%/*}"; mv "$file" "$T/aside/$file"; done < "$T/new"
    levels > "$T/after"
    diff "$T/before" "$T/after" || fail "$name: compacted in place it reads differently"
    while read -r file; do mv "$T/aside/$file" "${file%.new}"; done < "$T/new"
    levels > "$T/after"
    diff "$T/before" "$T/after" || fail "$name: the new files read differently"
    # The newest, by the word of who made it.
    if [ -e expected.raw.sha256 ]; then
        grep -q "$(cut -d ' ' -f 1 expected.raw.sha256)" "$T/after" || fail "$name: not expected.raw.sha256"
    fi
    rm -rf "$T/aside"
}

each_sample check_sample 'q*' 'vb*' 'found-vmdkrs-two*' 'fc*' 'du-split*'
echo "$compacted compacted, $copied of them to new files too, $refused refused"
if [ "${VMDKDELTA_SAMPLES:-}" ]; then
    [ $compacted -ge 12 ] || fail "only $compacted files were compacted"
else
    # Streams are refused, and what lies over something that is not there.
    [ "$compacted $copied $refused" = '26 23 10' ] || fail 'others than before'
fi
