#!/bin/bash
# All samples, every level, read the same from a web server, an ssh server and an NBD
# server as from a local disk, and what is refused locally is refused there.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/samples.sh"
. "$top_srcdir/tests/drive/hosts.sh"
need plugin xz nbdcopy nbdinfo

start_web "$T/x"
start_sshd
mkdir y
start file dir="$T/y"   # exports have no directories in their names
nbd_socket=$sock
levels=0 refused=0
# An ssh session for each file and connection takes its time: long-remote-samples has all.
by_ssh=${by_ssh:-q72-*|found-*flat}

# digests FILE PARAMETER...: one line for each level, whose files are $chain: its name,
# and a digest of the disk; of a large one, of what is data in the local one, which
# comes first.
digests () {
    local level at
    _launch "$PLUGIN" "$@" 2> "$T/log" || { echo refused; return 0; }
    for level in "${chain[@]}"; do
        at="nbd+unix:///$level?socket=$sock"
        if [ "$(nbdinfo --size "$at")" -le $((64 << 20)) ]; then
            echo "$level $(nbdcopy "$at" - | sha256sum)"
            continue
        fi
        [[ $1 = *://* ]] || nbdinfo --map "$at" > "$T/map.$level"
        echo "$level $({ nbdinfo --size "$at"
            while read -r offset length type _; do
                [ "$type" != 0 ] || "$builddir/tests/read-range" "$at" "$offset" "$length"
            done < "$T/map.$level"; } | sha256sum)"
    done
    stop
}

each_level () {
    local chain file want got url
    mapfile -t chain < <(strings chain)
    [ ${#chain[@]} -gt 0 ] || mapfile -t chain < <(find . -name '*.vmdk' -printf '%P\n')
    file=${chain[-1]}
    [ -e "$file" ] || fail "$name: no chain"
    find . -type f -exec cp -t "$T/y" {} +
    want=$(digests file="$file")
    for url in "$web/folder/$(basename "$PWD")/$file?dcPath=a%2520b&dsName=c" "$ssh$PWD/$file" \
               "nbd+unix:///$file?socket=$nbd_socket"; do
        # shellcheck disable=SC2053  # a pattern
        [[ $url != ssh:* || $name = @($by_ssh) ]] || continue
        at=${url%"$file"*} after=${url#"$at$file"} parent=()
        # What is known by its UUID only is found in no directory elsewhere.
        [[ $name != vb-vmdk-* ]] || parent=(parent="$at${chain[0]}$after")
        got=$(digests file="$url" "${parent[@]}" remote=identity="$T/user" remote=known-hosts="$T/known" remote=connections=2)
        [ "$got" = "$want" ] || { printf '%s\n' "$want" "$got"; cat "$T/log"; fail "$name: $url reads otherwise than the local file"; }
    done
    levels=$((levels + ${#chain[@]}))
    [ "$want" != refused ] || refused=$((refused + 1))
    rm "$T"/y/*
}

# A disk known by its UUID needs its parent named, and only one of a chain can be.
each_sample each_level '[!v]*' 'vb-base-*' 'vb-vmdk-*'
[ $levels -ge 20 ] && [ $refused -ge 1 ] || fail "only $levels levels, $refused refused?"
echo "$levels levels, $refused refused"
