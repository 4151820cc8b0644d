#!/bin/bash
# The plugin as a module: what --dump-plugin and --help say, parameters that are refused,
# and that it asks nbdkit for nothing that nbdkit 1.32 does not have.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/test-chain-disks.sh"
need nm nbdinfo

nbdkit "$PLUGIN" --dump-plugin > dump
for want in name=vmdk api_version=2 thread_model=parallel magic_config_key=file errno_is_preserved=1 has_open=1 has_pread=1 \
            has_extents=1 has_list_exports=1 has_default_export=1 has_get_ready=1 has_block_size=1 vmdk_version=; do
    grep -q "^$want" dump || fail "no $want: $(cat dump)"
done
grep -Eq '^vmdk_formats=(.* )?COWD( |$)' dump && grep -Eq '^vmdk_formats=.*KDMV' dump &&
    grep -Eq '^vmdk_formats=.*SEsparse' dump || fail "$(cat dump)"
# It can write, but only where it is told to (test-plugin-write).
grep -q '^has_can_write=1' dump || fail 'it writes without being asked?'

nbdkit "$PLUGIN" --help > help
for key in file dir parent-path parent ignore-cid allow-dirty unconfined cache-size; do
    grep -Eq "^ *(\[file=\]|$key=)" help || fail "no $key in --help"
done

base d.vmdk 1 A
no () { expect_fail "error: $1" nbdkit "$PLUGIN" "${@:2}" --run true; }
no 'give either file=FILE, a VMDK disk or snapshot, or dir=DIR'
no 'give either file=FILE' d.vmdk dir=.
no "unknown parameter 'color'; see nbdkit-vmdk-plugin\(1\)" d.vmdk color=red
no "unknown parameter 'delta'" d.vmdk delta=x
no 'file is given twice' d.vmdk file=d.vmdk
no 'dir is given twice' dir=. dir=.
no 'ignore-cid=maybe is not understood; allowed are true and false' d.vmdk ignore-cid=maybe
no 'cache-size=1000 is too small; allowed is 1M and up' d.vmdk cache-size=1000
sees A d.vmdk cache-size=1M ignore-cid=false allow-dirty=false unconfined=false

# The functions that nbdkit 1.32 exports.
cat > known <<'END'
absolute_path add_export add_extent debug error exports_count exports_free exports_new export_name
extents_aligned extents_count extents_free extents_full extents_new get_export get_extent is_tls
nanosleep parse_bool parse_int parse_int16_t parse_int32_t parse_int64_t parse_int8_t parse_size
parse_uint16_t parse_uint32_t parse_uint64_t parse_uint8_t parse_unsigned peer_gid peer_name
peer_pid peer_uid printf_intern read_password realpath set_error shutdown stdio_safe strdup_intern
strndup_intern use_default_export vdebug verror vprintf_intern
END
tr ' ' '\n' < known | sed s/^/nbdkit_/ | sort > known-names
nm -D --undefined-only "$PLUGIN" | awk '{ print $2 }' | grep '^nbdkit_' | sort > used
[ -s used ] || fail 'it uses nothing?'
comm -13 known-names used > unknown
[ ! -s unknown ] || fail "not in nbdkit 1.32: $(cat unknown)"
