#!/bin/bash
# Text from file names and descriptors does not reach the terminal as it is.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/drive/fixture.sh"
need filter mkimage

simple
clean () {  # control characters, those of UTF-8, and U+202E, which turns text round
    ! LC_ALL=C grep -aqE $'[\x01-\x08\x0b-\x1f\x7f]|\xc2[\x80-\x9f]|\xe2\x80\xae' "$T/output" ||
        fail "control characters in: $(cat -v "$T/output")"
}
esc=$'\e[31mred\e]0;title\a'
for name in "$esc" $'\x9b31mred' $'\xc2\x9b31mred'; do
    echo 'not a VMDK' > "$name.vmdk"
    expect_fail '\\x(1b\[|9b)31mred' nbdkit_run file base.raw delta="$name.vmdk" --run true
    clean
done

# Text in descriptors: bytes that can pass for text, and others behind the part that
# decides whether it is one.
descriptor () {  # TEXT TYPE NAME
    printf '# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=2\n'
    printf '#%.0s' {1..600}
    printf '\n%s\nRW 8192 %s "%s"\n' "$1" "$2" "$3"
}
c1=$'\xc2\x9b31mred\xe2\x80\xae\x7f'
for bad in "$c1" "$esc"; do
    descriptor 'createType="x"' VMFSSPARSE "$bad" > d.vmdk
    expect_fail . nbdkit_run file base.raw delta=d.vmdk --run true
    clean
    descriptor 'createType="x"' "$bad" x-cowd.vmdk > d.vmdk
    expect_fail . nbdkit_run file base.raw delta=d.vmdk --run true
    clean
    descriptor "$bad" VMFSSPARSE x-cowd.vmdk > d.vmdk
    expect_fail . nbdkit_run file base.raw delta=d.vmdk --run true
    clean
    for hint in "$bad.vmdk" "$bad-000001.vmdk"; do
        descriptor "parentFileNameHint=\"$hint\"" VMFSSPARSE x-cowd.vmdk > d.vmdk
        nbdkit_run file base.raw delta=d.vmdk --run true >"$T/output" 2>&1 || :
        clean
    done
done
descriptor 'createType="x"' VMFSSPARSE "$c1" > d.vmdk
expect_fail 'refers to \\xc2\\x9b31mred\\xe2\\x80\\xae\\x7f' nbdkit_run file base.raw delta=d.vmdk --run true
