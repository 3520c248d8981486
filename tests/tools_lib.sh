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
# killed KILLS MS LAST COMMAND...: a trainer that is killed at random moments (within MS) and resumed
# ends with the same bytes as one that was not.  LAST: its last checkpoint.
killed() {
    kills_left=$1 most=$2 last=$3 rounds=0
    shift 3
    check "never killed" 0 "$@" --name whole
    while [ "$kills_left" -gt 0 ] && [ $rounds -lt 400 ]; do
        rounds=$((rounds + 1))
        "$@" --name killed >/dev/null 2>&1 &
        pid=$!
        sleep "0.$(printf '%03d' $(($(od -An -N2 -tu2 /dev/urandom) % most + 5)))"
        kill -9 $pid 2>/dev/null && kills_left=$((kills_left - 1))
        wait $pid 2>/dev/null
        code=$?
        if [ $code -eq 0 ]; then # finished: begin anew
            same "killed and resumed" "logs/whole/checkpoints/$last.safetensors" "logs/killed/checkpoints/$last.safetensors"
            rm -r logs/killed
        elif [ $code -ne 137 ]; then
            bad "resume after a kill: exit $code"
            break
        fi
    done
    check "the last one" 0 "$@" --name killed
    for f in "checkpoints/$last.safetensors" "checkpoints/$last.state.safetensors" metrics.csv curves.svg; do
        same "killed and resumed" "logs/whole/$f" "logs/killed/$f"
    done
    lines "no line of the log twice" logs/killed/log.jsonl "$(wc -l <logs/whole/log.jsonl)"
    absent "nothing left behind" logs/killed/checkpoints/*.tmp*
}
# terminated COMMAND...: SIGTERM makes a trainer save
terminated() {
    "$@" --name stopped >/dev/null 2>&1 &
    pid=$!
    for i in 1 2 3 4 5 6 7 8 9 10; do [ -e logs/stopped/latest ] || sleep 1; done
    kill -TERM $pid
    wait $pid
    code=$?
    what=SIGTERM
    if [ $code -eq 143 ]; then good; else bad "SIGTERM: exit $code"; fi
    has "SIGTERM" logs/stopped/latest _
}
skip() { skipped=$((skipped + 1)); echo "skip: $1"; }
report() {
    echo "$passed passed, $failed failed, $skipped skipped"
    [ $failed -eq 0 ]
    exit
}
