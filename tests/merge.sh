# What the tests of merge share; source it behind lib.sh.
. "$top_srcdir/tests/samples.sh"

# unpack NAME: a sample, and go there; the files of the chain are in "chain", base
# first, and the digest of the disk at each of them in "digests".
unpack () {
    local file from=$top_srcdir/tests/data
    [ -e "$from/$1.tar.xz" ] || from=$VMDKDELTA_SAMPLES
    rm -rf "${T:?}/sample"
    mkdir "$T/sample"
    tar -C "$T/sample" -xf "$from/$1.tar.xz"
    cd "$T/sample"/*/
    mapfile -t chain < <(strings chain)
    [ ${#chain[@]} -gt 0 ] || fail "$1: no chain in meta.json"
    digests=()
    for file in "${chain[@]}"; do digests+=("$(digest "$file")"); done
}

# digest FILE: of the disk that the chain with this top shows.
digest () {
    nbdkit "$PLUGIN" "file=$1" --run 'nbdcopy "$uri" -' 2>"$T/digest.err" | sha256sum
    [ "${PIPESTATUS[0]}" -eq 0 ] || { cat "$T/digest.err" >&2; return 1; }
}

# check_result DIR SKIP COUNT: the chain, merged in DIR, is as it has to be.
check_result () {
    local n=${#chain[@]} target i want
    target=$((n - 1 - $2 - $3))
    for ((i = 0; i < n; i++)); do
        if [ $i -gt $target ] && [ $i -lt $((n - $2)) ]; then
            [ ! -e "$1/${chain[i]}" ] || fail "${chain[i]} is still there"
            continue
        fi
        want=${digests[i]}
        [ $i -ne $target ] || want=${digests[n - 1 - $2]}
        [ "$(digest "$1/${chain[i]}")" = "$want" ] ||
            fail "--skip=$2 --count=$3: ${chain[i]} reads otherwise"
    done
    [ -z "$(find "$1" -name '*.part' -o -name '.*vmdkdelta*')" ] || fail 'something was left'
}

# image_uuid FILE: as VirtualBox writes it.
image_uuid () {
    local b
    case $1 in
        *.vdi)
            mapfile -t b < <(od -An -v -tx1 -w1 -j 392 -N 16 "$1" | tr -d ' ')
            printf %s "${b[3]}${b[2]}${b[1]}${b[0]}-${b[5]}${b[4]}-${b[7]}${b[6]}-" \
                "${b[8]}${b[9]}-${b[10]}${b[11]}${b[12]}${b[13]}${b[14]}${b[15]}" ;;
        *) grep -a -m 1 '^ddb.uuid.image' "$1" | sed 's/.*"\(.*\)".*/\1/' | tr -d '\n\r' ;;
    esac
}

# medium FILE UUID BASE: the opening tag of a registry's entry.
medium () {
    printf '<HardDisk uuid="{%s}" location="%s" format="%s"%s>\n' "$2" "$1" \
        "$(tr a-z A-Z <<< "${1##*.}")" "${3:+ type=\"Normal\"}"
}

# hardware INDENT UUID...: a disk on each port.
hardware () {
    local port=0 u
    printf '%s<Hardware>\n%s  <CPU count="2"/>\n%s  <StorageControllers>\n' "$1" "$1" "$1"
    printf '%s    <StorageController name="SATA" type="AHCI" PortCount="%d">\n' "$1" $(($# - 1))
    for u in "${@:2}"; do
        printf '%s      <AttachedDevice type="HardDisk" port="%d" device="0">\n' "$1" $((port++))
        printf '%s        <Image uuid="{%s}"/>\n%s      </AttachedDevice>\n' "$1" "$u" "$1"
    done
    printf '%s    </StorageController>\n%s  </StorageControllers>\n%s</Hardware>\n' "$1" "$1" "$1"
}

snapshot_uuid () { printf '5a5a5a5a-0000-4000-8000-%012d' "$1"; }

# make_machine FILE NR IMAGE...: a machine with disks of NR images each, given base
# first; the last of each is current, and what is below is frozen by snap0, snap1, ...
make_machine () {
    local out=$1 n=$2 dir=${1%/*} i k u=()
    shift 2
    local images=("$@") disks=$(($# / n))
    for i in "${images[@]}"; do u+=("$(image_uuid "$dir/$i")"); done
    of () { for ((k = 0; k < disks; k++)); do echo "${u[k * n + $1]}"; done; }
    {
        printf '<?xml version="1.0"?>\n<!--\n** DO NOT EDIT, but keep this & that\n-->\n' | sed 's/ & / and /'
        echo '<VirtualBox xmlns="http://www.virtualbox.org/" version="1.19-linux">'
        echo '  <Machine uuid="{11111111-2222-4333-8444-555555555555}" name="m &amp; n"' \
            "snapshotFolder=\"Snapshots\" currentSnapshot=\"{$(snapshot_uuid $((n - 2)))}\"" \
            'lastStateChange="2026-01-01T00:00:00Z">'
        echo '    <MediaRegistry>'
        echo '      <HardDisks>'
        for ((k = 0; k < disks; k++)); do
            for ((i = 0; i < n; i++)); do
                printf '%*s' $((8 + 2 * i)) ''
                medium "${images[k * n + i]}" "${u[k * n + i]}" "$([ $i -gt 0 ] || echo 1)"
            done
            for ((i = n; i > 0; i--)); do printf '%*s</HardDisk>\n' $((6 + 2 * i)) ''; done
        done
        echo '      </HardDisks>'
        echo '    </MediaRegistry>'
        echo "    <ExtraData><ExtraDataItem  name='GUI/LastCloseAction' value=\"PowerOff\"/></ExtraData>"
        for ((i = 0; i < n - 1; i++)); do
            echo "    <Snapshot uuid=\"{$(snapshot_uuid $i)}\" name=\"snap$i\" timeStamp=\"2026-01-0$((i + 1))T00:00:00Z\">"
            mapfile -t here < <(of $i)
            hardware '      ' "${here[@]}"
            [ $i -eq $((n - 2)) ] || echo '      <Snapshots>'
        done
        for ((i = n - 2; i >= 0; i--)); do
            echo '    </Snapshot>'
            [ $i -eq 0 ] || echo '      </Snapshots>'
        done
        mapfile -t here < <(of $((n - 1)))
        hardware '    ' "${here[@]}"
        echo '  </Machine>'
        echo '</VirtualBox>'
    } > "$out"
}
