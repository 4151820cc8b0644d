# shellcheck shell=bash
# A VirtualBox machine for tests: vb-tree.vbox, which VirtualBox wrote, with small disks
# that have its UUIDs.  Each image holds one block of 64 KiB, full of one letter.

# put OFFSET BYTES: into $file.
put () { printf "$2" | dd of="$file" bs=1 seek=$(($1)) conv=notrunc status=none; }
le32 () { printf '\\x%02x\\x%02x\\x%02x\\x%02x' $(($1 & 255)) $(($1 >> 8 & 255)) $(($1 >> 16 & 255)) $(($1 >> 24 & 255)); }
# mixed UUID: as a VDI has it.
mixed () {
    local u=${1//-/} i
    for i in 3 2 1 0 5 4 7 6 8 9 10 11 12 13 14 15; do printf '\\x%s' "${u:i*2:2}"; done
}
# image FILE UUID PARENT LETTER: PARENT 0: none; LETTER -: nothing in it.
image () {
    local file=$1 entry=0
    [ "$4" != - ] || entry=$((0xffffffff))
    rm -f "$file"
    truncate -s 1024 "$file"
    put 0x40 '\x7f\x10\xda\xbe\x01\x00\x01\x00\x90\x01'
    put 0x4c "$(le32 $([ "$3" = 0 ] && echo 1 || echo 4))"
    put 0x154 "$(le32 512)$(le32 1024)"
    put 0x170 "$(le32 65536)"
    put 0x178 "$(le32 65536)"
    put 0x180 "$(le32 1)"
    put 0x188 "$(mixed "$2")"
    [ "$3" = 0 ] || put 0x1a8 "$(mixed "$3")"
    put 512 "$(le32 $entry)"
    [ "$4" != - ] || return 0
    put 0x184 "$(le32 1)"
    letters "$4" >> "$file"
}

# make_machine DIR: a letter for each image; one child of each disk has nothing, and
# shows what its parent has.
make_machine () {
    local uuid parent location letter
    mkdir -p "$1/Snapshots"
    cp "$top_srcdir/tests/data/vb-tree.vbox" "$1/tree.vbox"
    while read -r uuid parent location letter; do
        image "$1/$location" "$uuid" "$parent" "$letter"
    done <<'END'
20ccbed2-3ed9-47de-ad03-afbe78f468ee 0 disk0.vdi A
f1316682-4904-4808-991f-8656c9303856 20ccbed2-3ed9-47de-ad03-afbe78f468ee Snapshots/{f1316682-4904-4808-991f-8656c9303856}.vdi B
2423be15-8afc-444a-a2fa-597a996e0d87 f1316682-4904-4808-991f-8656c9303856 Snapshots/{2423be15-8afc-444a-a2fa-597a996e0d87}.vdi C
35b30b4a-333d-4dd3-97f1-b17da36c33d7 f1316682-4904-4808-991f-8656c9303856 Snapshots/{35b30b4a-333d-4dd3-97f1-b17da36c33d7}.vdi D
8034de2b-d4b1-42c0-852d-f42ec1bb3d5a 20ccbed2-3ed9-47de-ad03-afbe78f468ee Snapshots/{8034de2b-d4b1-42c0-852d-f42ec1bb3d5a}.vdi E
e0ba26ad-69ff-42ad-aac3-dcd1c4c0b7f1 8034de2b-d4b1-42c0-852d-f42ec1bb3d5a Snapshots/{e0ba26ad-69ff-42ad-aac3-dcd1c4c0b7f1}.vdi -
e61cbf5e-3c3b-4db7-a223-479d5109b9f6 0 disk1.vmdk F
754c9667-ef48-48ba-8e5b-24d0210afcb8 e61cbf5e-3c3b-4db7-a223-479d5109b9f6 Snapshots/{754c9667-ef48-48ba-8e5b-24d0210afcb8}.vmdk G
2ad8f727-089c-4a43-9b5c-1a2e3222917d 754c9667-ef48-48ba-8e5b-24d0210afcb8 Snapshots/{2ad8f727-089c-4a43-9b5c-1a2e3222917d}.vmdk H
c88a03b9-5b08-41fb-900f-b467cb4634d1 754c9667-ef48-48ba-8e5b-24d0210afcb8 Snapshots/{c88a03b9-5b08-41fb-900f-b467cb4634d1}.vmdk -
6d18fefe-331d-4734-878c-cb574a4e7e01 e61cbf5e-3c3b-4db7-a223-479d5109b9f6 Snapshots/{6d18fefe-331d-4734-878c-cb574a4e7e01}.vmdk I
93eff61a-9b70-4c0b-bb8d-1c1794b447f5 6d18fefe-331d-4734-878c-cb574a4e7e01 Snapshots/{93eff61a-9b70-4c0b-bb8d-1c1794b447f5}.vmdk J
END
}
