# shellcheck shell=bash
# For the tests of clients: one disk, served once by the filter and once by the plugin.
# Source it after lib.sh.
# shellcheck disable=SC1091
. "$top_srcdir/tests/drive/fixture.sh"
need filter plugin mkimage

# chain: base.raw, a descriptor for it, a delta over it, and expected.raw, what they are
# together: 4 MiB.
chain () {
    base
    printf '# Disk DescriptorFile\nversion=1\nCID=01234567\nparentCID=ffffffff\ncreateType="vmfs"\nRW 8192 VMFS "base.raw"\n' > disk.vmdk
    delta x cowd --parent=disk.vmdk
    cp base.raw expected.raw
    overlay expected.raw x.raw
    ! cmp -s base.raw expected.raw || fail 'the delta changes nothing'
    sha256sum base.raw disk.vmdk x.vmdk x-cowd.vmdk > sums
}

# for_both COMMAND...: run it with $uri and $sock of each; the files must stay as they are.
for_both () {
    [ -e sums ] || chain
    for server in filter plugin; do
        case $server in
            filter) serve file base.raw delta=x.vmdk ;;
            plugin) start "$PLUGIN" x.vmdk ;;
        esac
        "$@"
        stop
        sha256sum --quiet -c sums || fail "$server: the files were changed"
    done
}
