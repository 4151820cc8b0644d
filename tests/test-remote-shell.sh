#!/bin/bash
# Files of an ssh host are read by a shell there: odd names, noise at login, faults, and
# hosts that give no shell.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
. "$top_srcdir/tests/drive/fixture.sh"
. "$top_srcdir/tests/drive/hosts.sh"
need tool plugin mkimage nbdcopy ssh

start_sshd "ForceCommand sh $T/login.sh"
# What the host runs for each login: logins has a line for each.
cat > login.sh <<END
echo "\${SSH_ORIGINAL_COMMAND:-none}" >> $T/logins
[ ! -e $T/noise ] || cat $T/noise
[ ! -e $T/bin ] || PATH=$T/bin:\$PATH
[ ! -e $T/no-shell ] || exec $sftp_server
case \$SSH_ORIGINAL_COMMAND in
    */sftp-server | internal-sftp) exec \$SSH_ORIGINAL_COMMAND ;;
    *) eval "\$SSH_ORIGINAL_COMMAND" ;;
esac
END
by=(--remote=identity="$T/user" --remote=known-hosts="$T/known")
served=(remote=identity="$T/user" remote=known-hosts="$T/known")

simple
printf '# Disk DescriptorFile\nversion=1\nCID=01234567\nparentCID=ffffffff\ncreateType="vmfs"\nRW 8192 VMFS "base.raw"\n' > disk.vmdk
delta x cowd --parent=disk.vmdk

# logins N: so many since the last call, of the kind "exec sh".
logins () {
    local n
    n=$(grep -c '^exec sh' logins || :)
    rm -f logins
    [ "$n" = "$1" ] || fail "$n logins for a shell, and not $1"
}
reads () {  # URI [PARAMETER...]
    rm -f out.raw
    nbdkit "$PLUGIN" "${served[@]}" "$@" --run 'nbdcopy "$uri" out.raw'
    same expected.raw out.raw
}

# One login for all files of a chain.
"$TOOL" info --chain "${by[@]}" "$ssh$T/x.vmdk" > out
grep -q '^x.vmdk *COWD .* ok$' out || fail 'it is not read'
logins 1
reads "$ssh$T/x.vmdk"
rm -f logins

# Names are no commands.
mkdir dirs
for odd in "it's a "'$(touch pwned)`touch pwned`;touch pwned #"*%' -rf $'new\nline'; do
    mkdir "dirs/$odd"
    cp x.vmdk x-cowd.vmdk disk.vmdk base.raw "dirs/$odd"
    mv "dirs/$odd/x.vmdk" "dirs/$odd/$odd.vmdk"
    name=$(printf %s "$odd" | od -An -v -tx1 | tr -d '\n' | tr ' ' '%')
    "$TOOL" info --chain "${by[@]}" "$ssh$T/dirs/$name/$name.vmdk" > out
    grep -q 'COWD .* ok$' out || fail "$odd is not read"
    expect_fail 'there is no such file on that host' "$TOOL" info "${by[@]}" "$ssh$T/dirs/$name/no.vmdk"
done
! find . -name 'pwned*' | grep . || fail 'a name was run as a command'
rm -f logins

# Whatever is printed at login.
seq 1000 > noise
printf '%s' 'no newline: ' >> noise
echo >> noise
"$TOOL" info --chain "${by[@]}" "$ssh$T/x.vmdk" > out
logins 1
reads "$ssh$T/x.vmdk"
rm noise

# Hosts without a shell are read by nbdkit's plugin.
touch no-shell
reads "$ssh$T/x.vmdk"
rm -f no-shell logins
reads "$ssh$T/x.vmdk" remote=shell=false
logins 0
expect_fail 'shell=yes: allowed are true and false' "$TOOL" info --remote=shell=yes "$ssh$T/x.vmdk"

# A file that is changed, or replaced by another one, while it is served: an error.
for change in 'touch -d 2001-01-01 x-cowd.vmdk' 'cp x-cowd.vmdk new; mv new x-cowd.vmdk' 'truncate -s +512 x-cowd.vmdk'; do
    cp x-cowd.vmdk kept
    start "$PLUGIN" "$ssh$T/x.vmdk" "${served[@]}" 2> log
    read_range 0 512 > out
    eval "$change"
    status=0
    nbdcopy "$uri" out.raw 2> copy || status=$?
    [ $status -ne 0 ] || fail "it was not noticed: $change"
    stop
    grep -q 'was changed on that host after it was opened' log || { cat log; fail "not told: $change"; }
    cp kept x-cowd.vmdk
done

# What dd says there becomes one line, with the way out.
mkdir bin
cat > bin/dd <<END
#!/bin/sh
case "\$*" in *-cowd.vmdk*) echo "dd: can't open 'x': Device or resource busy" >&2; exit 1 ;; esac
exec $(type -P dd) "\$@"
END
chmod +x bin/dd
expect_fail 'x-cowd.vmdk: it is in use on that host: stop the machine.*vmkfstools -i' "$TOOL" map "${by[@]}" "$ssh$T/x.vmdk"
[ "$(grep -c . output)" = 1 ] || { cat output; fail 'not one line'; }
expect_fail 'x-cowd.vmdk: it is in use on that host' nbdkit "$PLUGIN" "$ssh$T/x.vmdk" "${served[@]}" --run true
# In the middle of an answer.
cat > bin/dd <<END
#!/bin/sh
case "\$*" in *base.raw*bs=65536*) head -c 1000 /dev/zero; echo "dd: base.raw: Input/output error" >&2; exit 1 ;; esac
exec $(type -P dd) "\$@"
END
expect_fail 'status|rror' nbdkit "$PLUGIN" "$ssh$T/x.vmdk" "${served[@]}" --run 'nbdcopy "$uri" out.raw'
grep -q 'base.raw: cannot be read on that host: dd: base.raw: Input/output error' output || { cat output; fail 'what dd said is not told'; }

# A connection that is lost is taken up again.
cat > bin/dd <<END
#!/bin/sh
if [ -e $T/lose ]; then rm $T/lose; kill -9 \$PPID; fi
exec $(type -P dd) "\$@"
END
rm -f logins
start "$PLUGIN" "$ssh$T/x.vmdk" "${served[@]}"
touch lose
nbdcopy "$uri" out.raw
stop
same expected.raw out.raw
[ ! -e lose ] || fail 'no connection was lost'
