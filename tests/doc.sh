# shellcheck shell=bash
# What the tests of the documentation share: finding the examples in a text, the
# files that they name, and running them as they are written.  A test says
#
#   . "${top_srcdir:?run it with make check}/tests/lib.sh"
#   . "$top_srcdir/tests/doc.sh"
#
# defines not_run and check (below), and calls run_examples.
#
# Filter, plugin and command run under their short names, as if they were installed.
# Two things are replaced, since there is no network here:
#
#   https://example.com/         the directory, as file://
#   nbd://localhost              the socket of the example server started last
#
# A server without --run is started in the background, and the disk is copied from it.

# shellcheck disable=SC2154  # uri and sock are from lib.sh
need filter plugin tool mkimage qemu-img qemu-io nbdcopy nbdinfo perl

# ---- Finding them -------------------------------------------------------------

# examples FILE: the commands in a ```sh block of *.md, in a verbatim paragraph or a
# heading of *.pod outside of its SYNOPSIS, or in the Examples of a --help text; one a
# line, continued lines joined.
examples () {
    case $1 in
        *.md)  awk '/^```sh/ { on = 1; next } /^```/ { on = 0 } on' "$1" ;;
        *.pod) awk '/^=/ { head = $0 } head == "=head1 SYNOPSIS" { next }
                    /^=head2 vmdkdelta / { sub(/^=head2 /, ""); print; print ""; next }
                    /^ / { sub(/^ */, ""); print }' "$1" ;;
        *) awk '/^[A-Z]/ { on = ($1 == "Examples:"); next } on { sub(/^ */, ""); print }' "$1" ;;
    esac | sed -e ':a' -e '/\\$/ { N; s/ *\\\n */ /; ba' -e '}' |
        grep -E '^(sudo|make|nbdkit|nbdcopy|nbdinfo|qemu-[a-z0-9_-]+|vmdkdelta|nbdfuse|virt-v2v|guestfish|virsh|qm|xe|uuid=\$\(xe|install|STATE=[^ ]*) |^make$' |
        grep -Ev '^vmdkdelta .*(\[[-A-Z]|\.\.\.|\<(VERB|FILE|BASE|TARGET|OPTIONS)\>)' || :
}

# lacks WHAT...: is something of that missing?  It says what.
lacks () { ! (need "$@"); }

# not_run_anywhere EXAMPLE: print why, or fail if the example can run.
not_run_anywhere () {
    case $1 in
        'make deps'*|make|'make check'|'make deb'|'make rpm'|'sudo make install')
            echo 'builds, installs, or runs the tests that we are in' ;;
        nbdfuse*|virt-v2v*|guestfish*|virsh*|qm*|xe*|uuid=*|install*|STATE=*) echo 'needs that program, or another host' ;;
        qemu-system-*)          echo 'needs a guest operating system' ;;
        *' /dev/'*)             echo 'needs root and a block device' ;;
        *'[ qemu-nbd '*) echo 'test-tool-apply-command runs it' ;;
        *ssh://root@esx/*|*https://esx/*) echo 'needs that host; test-remote-names and others have stand-ins' ;;
        *' ssh host='*)         echo 'needs a host with an ssh server' ;;
        *'| jq '*)              lacks jq ;;
        *' curl '*)             lacks nbdkit:plugin:curl ;;
        *' nbd socket='*)       lacks nbdkit:plugin:nbd ;;
        *--filter=xz*)          lacks xz nbdkit:filter:xz ;;
        *--filter=cow*)         lacks nbdkit:filter:cow ;;
        *--filter=partition*)   lacks nbdkit:filter:partition ;;
        *) return 1 ;;
    esac
}

# ---- What cannot run here ------------------------------------------------------

# options_of PROGRAM: those that the recipes may use, as its manual page has them; the
# program itself is not here.  ("-name" and "--name"; KEY= for a parameter.)
options_of () {
    case $1 in
        nbdfuse)   echo '-r' ;;
        virt-v2v)  echo '-i -if -o -os -of' ;;
        guestfish) echo '--ro --format -a -i' ;;
        virsh\ blockcopy) echo '--format --wait --verbose --pivot --transient-job' ;;
        qm\ importdisk) echo '' ;;
        xe\ vdi-create) echo 'sr-uuid= name-label= type= virtual-size=' ;;
        xe\ vdi-import) echo 'uuid= filename= format=' ;;
        install)   echo '-m' ;;
        qemu-system-*) echo '-m -drive -name -accel -cpu -smp -display' ;;
        *) fail "which options has $1?" ;;
    esac
}

# parses EXAMPLE: the shell takes it; nbdkit knows its filters, its plugin and their
# parameters; another program has the options.
parses () {
    local words program word options
    bash -n <<< "$1" || fail "the shell does not take: $1"
    case $1 in
        nbdkit\ *)
            # Nothing is connected to before a client comes, and here comes none.
            case $1 in *' ssh '*) (need nbdkit:plugin:ssh) || return 0 ;; esac
            [[ $1 != *--filter=cow* ]] || (need nbdkit:filter:cow) || return 0
            (eval "nbdkit -U - $(sed -E 's/^nbdkit//; s/ -U [^ ]+//' <<< "$1") --run true") < /dev/null > log 2>&1 ||
                # The host is connected to at the start, but the parameters are read before.
                { [[ $1 = *://*esx/* ]] && grep -Eq 'error: (ssh|https)://|pass: No such file' log; } ||
                { cat log; fail "nbdkit does not take: $1"; }
            return ;;
        *\ examples/*)
            [[ $1 =~ (examples/[a-z.-]+) ]] || fail "$1"
            [ -x "$top_srcdir/${BASH_REMATCH[1]}" ] || fail "there is no ${BASH_REMATCH[1]}: $1" ;;
    esac
    case $1 in
        STATE=*migrate-live.sh*)
            # BASE DELTA TARGET, and what is behind -- is QEMU's.
            [[ $1 =~ ^STATE=/[^\ ]+\ examples/migrate-live.sh\ [^-\ ][^\ ]*\ [^-\ ][^\ ]*\ [^-\ ][^\ ]*\ --\ (.*) ]] ||
                fail "not as migrate-live.sh wants it: $1"
            bash -n "$top_srcdir/examples/migrate-live.sh" || fail migrate-live.sh
            set -- "qemu-system-x86_64 ${BASH_REMATCH[1]}" ;;
        uuid=*) set -- "$(sed 's/^uuid=\$(\(.*\))$/\1/' <<< "$1")" ;;
        nbdfuse\ *|virt-v2v\ *|guestfish\ *|virsh\ *|qm\ *|xe\ *|install\ *|qemu-system-*) ;;
        *) return 0 ;;
    esac
    read -r -a words <<< "$1"
    program=${words[0]}
    words=("${words[@]:1}")
    case $program in virsh|qm|xe) program+=" ${words[0]}"; words=("${words[@]:1}") ;; esac
    options=" $(options_of "$program") "
    for word in "${words[@]}"; do
        case $program,$word in
            xe*,*=*) word=${word%%=*}= ;;
            *,-*) word=${word%%=*} ;;
            *) continue ;;
        esac
        [[ $options = *" $word "* ]] || fail "$program has no option $word: $1"
    done
}
others=0

# ---- The files ----------------------------------------------------------------

size=$((16 << 20)) start=$((1 << 20))

# delta N FILL: disk-00000N.vmdk as ESX writes it, over the one before.
delta () {
    local parent=disk.vmdk n=$1
    [ "$n" = 1 ] || parent=disk-00000$((n - 1)).vmdk
    "$MKIMAGE" make cowd "disk-00000$n-delta.vmdk" --capacity=$size --fill="$2" --runs=9 --layer="$n" \
        --descriptor="disk-00000$n.vmdk" --parent=$parent --cid="0000000$((n + 1))" --parent-cid="0000000$n"
}

# descriptor FILE FLAT: of a disk with CID 1.
descriptor () {
    printf '# Disk DescriptorFile\nversion=1\nCID=00000001\nparentCID=ffffffff\ncreateType="vmfs"\nRW %s VMFS "%s"\n' \
        $((size / 512)) "$2" > "$1"
}

# vdi_uuid FILE: the one that the image has itself.
vdi_uuid () {
    local b
    read -r -a b <<< "$(od -An -v -tx1 -j 0x188 -N 16 "$1")"
    printf '%s' "${b[3]}${b[2]}${b[1]}${b[0]}-${b[5]}${b[4]}-${b[7]}${b[6]}-${b[8]}${b[9]}-" "${b[@]:10}"
}

# machine UUID: a machine file with one disk, disk0.vdi, in a snapshot and now.
machine () {
    local disk="<StorageControllers><StorageController name=\"sata\"><AttachedDevice type=\"HardDisk\" port=\"0\"
        device=\"0\"><Image uuid=\"{$1}\"/></AttachedDevice></StorageController></StorageControllers>"
    cat <<END
<?xml version="1.0"?>
<VirtualBox xmlns="http://www.virtualbox.org/" version="1.19-linux">
  <Machine uuid="{4f3863d9-6a3b-4d6e-b318-3bfde640525f}" name="machine">
    <MediaRegistry><HardDisks>
      <HardDisk uuid="{$1}" location="disk0.vdi" format="VDI" type="Normal"/>
    </HardDisks></MediaRegistry>
    <Snapshot uuid="{4d97e697-b030-47d2-a79b-3cdfd9ef3e88}" name="before-update" timeStamp="2026-11-21T19:30:47Z">
      <Hardware>$disk</Hardware>
    </Snapshot>
    <Hardware>$disk</Hardware>
  </Machine>
</VirtualBox>
END
}

# merge_files: vm/vm.vbox, and its disks, which lie where "dir=vm" does not look.
merge_files () (
    . "$top_srcdir/tests/machine.sh"
    . "$top_srcdir/tests/merge.sh"
    letters () { head -c 65536 /dev/zero | tr '\0' "$1"; }
    mkdir vm/vbox vm/Snapshots
    image vm/vbox/disk0.vdi 00000000-0000-4000-8000-00000000000a 0 A
    image vm/Snapshots/one.vdi 00000000-0000-4000-8000-00000000000b 00000000-0000-4000-8000-00000000000a B
    image vm/Snapshots/two.vdi 00000000-0000-4000-8000-00000000000c 00000000-0000-4000-8000-00000000000b C
    make_machine vm/vm.vbox 3 vbox/disk0.vdi Snapshots/one.vdi Snapshots/two.vdi
)

# remember FILE...: what must stay as it is, in "sums".
remember () {
    sha256sum "$@" > sums
    sed 's/^[^ ]*  //' sums | xargs stat -c '%n %s %y' > stats
}

# unchanged: these files are.  Only one whose size or time is another is read: all of them
# are at the end of the last page.
unchanged () {
    sed 's/^[^ ]*  //' sums | xargs stat -c '%n %s %y' 2> /dev/null > stats.now || return 1
    ! cmp -s stats stats.now || return 0
    sha256sum --quiet -c sums || return 1
    mv stats.now stats
}

# make_files: everything that the examples name, in the current directory; and
# NAME.expected, what must come out, read by QEMU.
make_files () {
    # A raw base with one partition, from 1 MiB to the end.
    nbdkit pattern $size --run 'nbdcopy "$uri" base.img'
    head -c 512 /dev/zero > mbr
    printf '\0\0\0\0\203\0\0\0\0\010\0\0\0\170\0\0' | dd of=mbr bs=1 seek=446 conv=notrunc status=none
    printf '\125\252' | dd of=mbr bs=1 seek=510 conv=notrunc status=none
    dd if=mbr of=base.img conv=notrunc status=none

    # The same as a VMDK, with QEMU's delta, and with two as ESX writes them.
    cp base.img disk-flat.vmdk
    descriptor disk.vmdk disk-flat.vmdk
    qemu-img create -q -f vmdk -F vmdk -b disk.vmdk x.vmdk
    qemu-io -f vmdk -c 'write -q -P 0x58 2M 64k' -c 'write -q -P 0x59 9M 192k' x.vmdk
    delta 1 20
    delta 2 10
    mkdir vm clone
    cp disk.vmdk disk-flat.vmdk disk-00000* vm/
    # A linked clone, of the machine in vm.
    (cd clone && "$MKIMAGE" make cowd clone-delta.vmdk --capacity=$size --fill=5 --layer=3 \
        --descriptor=clone.vmdk --parent=../vm/disk-000002.vmdk --cid=00000009 --parent-cid=00000003)
    # What "vmdkdelta create" is given.
    qemu-img convert -f vmdk -O raw x.vmdk new.img

    # What "vmdkdelta compact" is given: a block of data, one of zeros, one of data.
    qemu-img create -q -f vdi machine.vdi $size
    qemu-io -f vdi -c 'write -q -P 1 1M 1M' -c 'write -q -P 0 5M 1M' -c 'write -q -P 2 8M 1M' machine.vdi
    qemu-img convert -f vdi -O raw machine.vdi machine.expected

    # A machine of VirtualBox, with the same disk and a snapshot.
    cp machine.vdi disk0.vdi
    machine "$(vdi_uuid disk0.vdi)" > machine.vbox

    # A machine of VMware, with a snapshot.
    printf 'scsi0:0.fileName = "disk-000002.vmdk"\n' > vm.vmx
    printf 'snapshot0.%s\n' 'uid = "1"' 'displayName = "before update"' 'disk0.node = "scsi0:0"' \
        'disk0.fileName = "disk-000001.vmdk"' > vm.vmsd

    # What "vmdkdelta merge" is given: a machine with two snapshots, a letter in each.
    merge_files

    qemu-img convert -f vmdk -O raw x.vmdk x.expected
    qemu-img convert -f vmdk -O raw disk-000001.vmdk 1.expected
    qemu-img convert -f vmdk -O raw disk-000002.vmdk 2.expected
    qemu-img convert -f vmdk -O raw clone/clone.vmdk clone.expected
    cp base.img base.expected
    local f
    for f in x 2; do
        tail -c +$((start + 1)) $f.expected > $f.partition.expected
    done
    for f in x.expected 1.expected 2.expected clone.expected; do
        ! cmp -s $f base.img || fail "the delta of $f changes nothing"
    done
    ! cmp -s 2.expected clone.expected || fail 'the clone changes nothing'

    ! command -v xz >/dev/null || xz -0 -k --block-size=4MiB base.img
    start file base.img
    ln -s "$sock" base.sock
    remember -- *.vmdk vm/*.vmdk vm/vm.vbox vm/*/*.vdi clone/*.vmdk base.img
    mkdir original
    cp -p -- *.vmdk base.img machine.vdi original/
    cp -Rp vm original/
}

# ---- As if it were installed ---------------------------------------------------

# nbdcopy starts nbdkit itself: it has to find one that knows our names.
installed () {
    local real
    real=$(type -P nbdkit)
    mkdir bin
    cat > bin/nbdkit <<END
#!/bin/bash
args=()
for a; do
    case \$a in
        --filter=vmdkdelta) a=--filter=$FILTER ;;
        vmdk) a=$PLUGIN ;;
    esac
    args+=("\$a")
done
exec env LD_PRELOAD=${NBDKIT_PRELOAD:-} $real "\${args[@]}"
END
    chmod +x bin/nbdkit
    ln -s "$TOOL" bin/vmdkdelta
    PATH=$T/bin:$PATH
}

# original: what an example changed is made as it was.
original () {
    rm -rf vm; rm -f -- *.vmdkdelta-state vm.img
    cp -Rp original/. .
}

# merged EXAMPLE: what "vmdkdelta merge" was to do is done; of --dry-run, nothing.
merged () {
    case $1 in
        *--dry-run*) grep -q 'nothing was written' log && sha256sum --quiet -c sums ;;
        *--skip=1*vm.vbox*) served vm/vm.vbox C && served vm/vbox/disk0.vdi B && [ ! -e vm/Snapshots/one.vdi ] ;;
        *vm.vbox*) served vm/vm.vbox C && [ ! -e vm/Snapshots/two.vdi ] ;;
        *disk-000002.vmdk*) cmp vm/disk-flat.vmdk 2.expected && [ ! -e vm/disk-000002.vmdk ] ;;
        *) false ;;
    esac
}
served () {  # FILE LETTER
    nbdkit "$PLUGIN" "$1" --run 'nbdcopy "$uri" -' | tr -d "$2" | cmp - /dev/null
}

# ---- Running them --------------------------------------------------------------

# run_examples FILE...: all examples of these texts.  The test defines
#
#   not_run EXAMPLE  print why the example cannot run here, or fail
#   check EXAMPLE    look at what it made, and fail: its output is in "log"
#   keeps EXAMPLE    succeed if it may change the files of make_files (default: none may)
ran=0
run_examples () {
    local page example command why served status most made
    for page; do
        served=
        # Not from stdin: the examples must not read the list.
        while read -r -u 9 example; do
            if why=$(not_run_anywhere "$example" || not_run "$example"); then
                echo "not run ($why): $example"
                parses "$example"
                others=$((others + 1))
                continue
            fi
            echo "run: $example"
            rm -f out.raw out.qcow2 served.raw
            # What exists is not replaced.
            case $example in
                *'vmdkdelta create '*)
                    made=$(grep -oE '[a-z0-9-]+\.vmdk' <<< "$example" | tail -n 1)
                    rm -f "$made" "${made%.vmdk}-delta.vmdk" base.vmdk ;;
                *' --undo=back.vmdk '*) rm -f back.vmdk ;;
                *' --output=dense.vdi '*) rm -f dense.vdi ;;
            esac
            command=${example//https:\/\/example.com/file:\/\/$T}
            case $example in
                nbdkit*--run*) ;;
                nbdkit*)
                    [ -z "$served" ] || stop
                    served=1
                    eval "start ${command#nbdkit}" < /dev/null > log 2>&1 || { cat log; fail "${page##*/}: $example"; }
                    # All points in time, if there is no default.
                    command="nbdcopy '$uri' served.raw"
                    case $example in
                        *' dir='*) command="nbdinfo --list '$uri'" ;;
                        *--filter=cow*) command+=" && qemu-io -f raw -c 'write -P 7 2M 64k' '$uri'" ;;
                    esac ;;
            esac
            if [[ $command = *nbd://localhost* ]]; then
                [ "$served" ] || fail "there is no server for: $example"
                command=$(sed -E "s#nbd://localhost(/([^ ]*))?#'nbd+unix:///\\2?socket=$sock'#g" <<< "$command")
            fi
            # Here the base has other children, in vm it has not.
            case $example in *'vmdkdelta merge '*disk-000002.vmdk) command="cd vm && $command" ;; esac
            # With all files of a directory, some are no disks.
            case $example in *'*.vmdk'*) most=1 ;; *) most=0 ;; esac
            status=0
            (eval "$command") < /dev/null > log 2>&1 || status=$?
            [ $status -le $most ] || { cat log; fail "${page##*/}: status $status: $example"; }
            # Not "check ... || fail": in it "set -e" has to count.
            check "$example"
            keeps "$example" || unchanged || fail "${page##*/}: it changed files: $example"
            ran=$((ran + 1))
        done 9< <(examples "$page")
        unchanged || fail "${page##*/}: its examples changed files"
        [ -z "$served" ] || stop
    done
    sha256sum --quiet -c sums || fail 'the examples changed files'
}
keeps () { false; }
