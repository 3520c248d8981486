# tools_lib.sh - for tests of the tools: run in a temporary folder, count, report.  $T: the tools.
top=$(cd "$(dirname "$0")/.." && pwd)
T=$top/build/${BUILD:-release}/tools
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
cd "$tmp" || exit 1
export MCS_MINI= # no default models unless a test asks for them
passed=0 failed=0 skipped=0
good() { passed=$((passed + 1)); }
bad() {
    failed=$((failed + 1))
    echo "FAILED: $1"
    [ -e "$tmp/.err" ] && tail -n 5 "$tmp/.out" "$tmp/.err"
}
# check NAME CODE COMMAND...: the command ends with that exit code
check() {
    what=$1 want=$2
    shift 2
    "$@" >"$tmp/.out" 2>"$tmp/.err"
    code=$?
    if [ $code -eq "$want" ]; then good; else bad "$what: exit $code, expected $want: $*"; fi
}
# of the last command: text on standard error, on standard output
says() { if grep -qF -- "$1" "$tmp/.err"; then good; else bad "$what: does not say '$1'"; fi; }
prints() { if grep -qF -- "$1" "$tmp/.out"; then good; else bad "$what: does not print '$1'"; fi; }
same() { if cmp -s "$2" "$3"; then good; else bad "$1: $2 and $3 differ"; fi; }
differ() { if cmp -s "$2" "$3"; then bad "$1: $2 and $3 are equal"; else good; fi; }
has() { if grep -qaF -- "$3" "$2"; then good; else bad "$1: $2 has no '$3'"; fi; }
hasnot() { if grep -qaF -- "$3" "$2"; then bad "$1: $2 has '$3'"; else good; fi; }
lines() { if [ "$(wc -l <"$2")" -eq "$3" ]; then good; else bad "$1: $2 has $(wc -l <"$2") lines, expected $3"; fi; }
exists() { if [ -e "$2" ]; then good; else bad "$1: no $2"; fi; }
absent() { if [ -e "$2" ]; then bad "$1: $2 exists"; else good; fi; }
skip() { skipped=$((skipped + 1)); echo "skip: $1"; }
report() {
    echo "$passed passed, $failed failed, $skipped skipped"
    [ $failed -eq 0 ]
    exit
}
