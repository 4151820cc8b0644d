# shellcheck shell=bash
# Sections of a longer run, with one total; sourced by .ci/run and matrix.sh.
#
#   section TITLE COMMAND...  run it; if its output has a line "N passed, N failed[, N
#                             skipped]", add the last such, else count it as one test.
#                             Status 77 is a skip, with the reason in the last line.
#   total                     print what failed and the totals; exit 0 if nothing did
#
# With CI=true a skip must be listed in tests/skips-allowed, as "section TITLE".
# The caller sets $tmp, a directory that is there for as long as it runs.

passed=0 failed=0 skipped=0 failures=
begin=$SECONDS

section () {
    local title=$1 start=$SECONDS status p='' f s result=passed
    shift
    printf '\n=== %s: %s\n' "$title" "$*"
    "$@" 2>&1 | tee "$tmp/log"
    status=${PIPESTATUS[0]}
    read -r p f s < <(sed -n -E 's/^([0-9]+) passed, ([0-9]+) failed(, ([0-9]+) skipped)?$/\1 \2 \4/p' "$tmp/log" | tail -n 1) || :
    if [ "${p:-}" ]; then
        [ "$status" -eq 0 ] || [ "$f" -gt 0 ] || f=1
    elif [ "$status" -eq 77 ] && { [ "${CI:-}" != true ] || grep -q "^section $title:" tests/skips-allowed; }; then
        p=0 f=0 s=1
        result="SKIPPED ($(tail -n 1 "$tmp/log"))"
    else
        p=$((status == 0)) f=$((status != 0))
    fi
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + ${s:-0}))
    [ "$f" -eq 0 ] || { result=FAILED; failures="$failures
  $title"; }
    printf '=== %s: %s in %d s\n' "$title" "$result" $((SECONDS - start))
    [ "$f" -eq 0 ]
}

total () {
    [ -z "$failures" ] || printf '\nFailed:%s\n' "$failures"
    printf '\n%d s in all\n%d passed, %d failed' $((SECONDS - begin)) $passed $failed
    if [ $skipped -gt 0 ]; then printf ', %d skipped' $skipped; fi
    printf '\n'
    [ $failed -eq 0 ]
    exit
}
