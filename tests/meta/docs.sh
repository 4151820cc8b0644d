#!/bin/bash
# docs/README.md has every page with one line; links lead somewhere; what
# docs/architecture.md says of the parts of lib/ is complete, and nothing in it is gone.
. "${top_srcdir:?run it with make check}/tests/lib.sh"
need perl
cd "$top_srcdir"
bad=0
complain () { echo "$*"; bad=1; }

for page in docs/*.md docs/*.pod NEWS.md SECURITY.md CONTRIBUTING.md; do
    name=${page#docs/}
    [ "$name" != README.md ] || continue
    [ "$page" = "$name" ] && name=../$name
    [ "$(grep -c "^| \[.*\]($name) | ..*" docs/README.md)" = 1 ] ||
        complain "docs/README.md needs one line for $page"
done
grep -q '(docs/README\.md)' README.md || complain 'README.md has no link to docs/README.md'

# The anchors of a page, as its headings make them.
anchors () {
    sed -n 's/^##* *//p' "$1" | tr '[:upper:]' '[:lower:]' | sed 's/[^a-z0-9 _-]//g; s/ /-/g'
}

while IFS='|' read -r page to; do
    case $to in http:*|https:*|mailto:*) continue ;; esac
    file=${to%%#*} anchor=
    [[ $to != *#* ]] || anchor=${to#*#}
    [ "$file" ] && file=$(dirname "$page")/$file || file=$page
    [ -e "$file" ] || { complain "$page links to $to, which is not there"; continue; }
    [ -z "$anchor" ] || anchors "$file" | grep -qx -- "$anchor" || complain "$page links to $to: no such heading"
done < <(perl -ne 'while (/\]\(([^()\s]+)\)/g) { print "$ARGV|$1\n" }' -- *.md docs/*.md tests/data/README.md)

# Files that a text names exist.
while IFS='|' read -r page file; do
    # shellcheck disable=SC2086  # a pattern
    ls -d $file > /dev/null 2>&1 || complain "$page names $file, which is not there"
done < <(perl -ne 'next if $ARGV eq "CONTRIBUTING.md" && m,lib/format/toy,; s,bench/results/DATE\S*,,g;
    while (/`((?:tests|lib|scripts|examples|fuzz|bench|tool|docs)\/[A-Za-z0-9_.\/*-]+)`/g) { print "$ARGV|$1\n" }' \
    -- *.md docs/*.md)
# shellcheck disable=SC2016
while IFS='|' read -r page test; do
    compgen -G "tests/$test*.sh" > /dev/null || [ -e "tests/unit/$test.c" ] ||
        complain "$page names the test $test, which is not there"
done < <(perl -ne 'while (/\b((?:test|long)-[a-z]+(?:-[a-z]+)*\*?)(?=[^a-z*-])/g) { print "$ARGV|$1\n" }' \
    -- docs/*.md README.md SECURITY.md | sort -u)

# Functions and constants, where the text says that they are.
while IFS='|' read -r function file; do
    grep -Eq "^$function \(|^#define $function\>" "$file" || complain "docs/architecture.md says that $function is in $file"
done < <(perl -0777 -ne 'while (/`(\w+_\w+)`,?\s+\(`([a-z]+\/[a-z.\/-]+)`\)|\(`(\w+_\w+)`,\s+`([a-z]+\/[a-z.\/-]+)`\)/g) {
    print $1 ? "$1|$2\n" : "$3|$4\n" }' docs/architecture.md | tee "$T/functions")
[ "$(wc -l < "$T/functions")" -ge 10 ] || complain 'docs/architecture.md names no functions?'

# The questions of a newcomer: each answer names at least one place.
awk '/^## / { on = /^## Where is/ } on && /^\| [A-Z]/' docs/architecture.md > "$T/questions"
[ "$(wc -l < "$T/questions")" -ge 12 ] || complain 'docs/architecture.md answers no questions?'
while read -r row; do
    [[ $row = *'`lib/'* || $row = *'`tests/'* ]] || complain "docs/architecture.md names no place: $row"
done < "$T/questions"

# The modules: each wing of lib/ has a row in the table of the architecture, and the last column of
# it names the wing's modules: the part of a file's name before the first "-" (merge-plan.c belongs
# to merge), or all of it.
for dir in lib/*/; do
    wing=${dir#lib/} wing=${wing%/}
    grep "^| \`$wing/\`" docs/architecture.md | perl -ne '$c = (split /\|/)[3]; print "$1\n" while $c =~ /`([a-z0-9-]+)`/g' | sort > "$T/told"
    [ -s "$T/told" ] || complain "docs/architecture.md has no row for $dir"
    while read -r name; do
        compgen -G "lib/$wing/$name.[ch]" > /dev/null || complain "docs/architecture.md says that $dir has $name, which is not there"
    done < "$T/told"
    for file in "$dir"*.[ch]; do
        name=${file##*/} name=${name%.*}
        grep -Eqx "$name|${name%%-*}" "$T/told" || complain "docs/architecture.md does not tell of $file"
    done
done

# The header that is the library's manual tells of all that it includes.
while read -r header; do
    grep -Eq "^ \*.* ${header##*/}( |\.|,|\$)" lib/vmdkdelta.h || complain "the comment in lib/vmdkdelta.h does not tell of $header"
done < <(sed -n 's/^#include "\(.*\)"/\1/p' lib/vmdkdelta.h)

[ $bad -eq 0 ] || fail 'the pages are not up to date, see above'
