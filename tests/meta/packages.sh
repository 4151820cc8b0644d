#!/bin/bash
# Packages are for the version that the Makefile has, and ask for what scripts/deps.sh
# installs.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
cd "$top_srcdir"
bad=0
complain () { echo "$*"; bad=1; }

version=$(sed -n 's/^VERSION *:= *//p' Makefile)
[ "$(sed -n '1s/.*(\(.*\)).*/\1/p' debian/changelog)" = "$version" ] ||
    complain "debian/changelog does not begin with version $version"
[ "$(sed -n 's/^Version: *//p' rpm/*.spec)" = "$version" ] || complain "the spec is not of version $version"
sed -n '/^%changelog/,$p' rpm/*.spec | sed -n 2p | grep -q -- " - $version-" ||
    complain "the spec's changelog does not begin with version $version"
grep -m 1 '^## ' NEWS.md | grep -q "^## $version\b" || complain "NEWS.md does not begin with version $version"

# Debian takes these for granted.
essential=' binutils diffutils gcc libc6-dev make '
asked=$(sed -n '/^Build-Depends:/,/^$/p' debian/control)
while read -r kind name deb rpm; do
    case $kind in cmd|pc|hdr|lib) ;; *) continue ;; esac
    [[ $essential = *" $deb "* ]] || [ "$deb" = pkg-config ] ||
        grep -Eq "[ ,]$deb([ ,:]|\$)" <<< "$asked" ||
        complain "debian/control: Build-Depends lacks $deb, for $name"
    grep -Eq "^BuildRequires: +$rpm( |\$)" rpm/*.spec || complain "the spec: BuildRequires lacks $rpm, for $name"
done < <(sed -n "/<<'LIST'/,/^LIST/p" scripts/deps.sh)

# packages_with PAGE FILE...: how many lines of packages' lists match that page.
packages_with () {
    local page=$1 pattern n=0
    shift
    while read -r pattern; do
        # shellcheck disable=SC2053  # a pattern
        [[ $page = $pattern ]] && n=$((n + 1))
    done < <(sed -n 's,.*man1/,,p' "$@")
    echo $n
}
for page in docs/*.pod; do
    page=$(basename "$page" .pod).1
    [ "$(packages_with "$page" debian/*.install)" = 1 ] || complain "not one Debian package has the page $page"
    [ "$(packages_with "$page.gz" rpm/*.spec)" = 1 ] || complain "not one RPM package has the page $page"
done
# The pages and the examples are packaged as directories, so that none is forgotten.
for file in NEWS.md README.md SECURITY.md docs; do
    grep -qx "$file" debian/vmdkdelta.docs || complain "debian/vmdkdelta.docs lacks $file"
    grep -Eq "^%doc (.* )?$file( |\$)" rpm/*.spec || complain "the spec: no %doc has $file"
done
grep -qx 'examples/\*' debian/vmdkdelta.examples || complain 'debian/vmdkdelta.examples lacks examples/*'
grep -Eq '^%doc (.* )?examples( |$)' rpm/*.spec || complain 'the spec: no %doc has examples'
[ $bad -eq 0 ] || fail 'the packages are not up to date, see above'
