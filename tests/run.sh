#!/bin/sh
# run.sh PROGRAM... - runs cmocka programs and *_test.sh scripts and adds up what they report.
# A script prints "N passed, N failed, N skipped" as its last line.  SHOW=1 prints all output.
# A test asks for terabytes to see malloc refuse; the sanitizers would stop it there.
export ASAN_OPTIONS="${ASAN_OPTIONS:-allocator_may_return_null=1}"
export TSAN_OPTIONS="${TSAN_OPTIONS:-allocator_may_return_null=1}"
passed=0 failed=0 skipped=0 bad=
out=$(mktemp) || exit 1
trap 'rm -f "$out"' EXIT
for t in "$@"; do
    case $t in *.sh) ;; /*) ;; *) t=./$t ;; esac
    start=$(date +%s)
    case $t in *.sh) sh "$t" >"$out" 2>&1 ;; *) "$t" >"$out" 2>&1 ;; esac
    status=$?
    case $t in
    *.sh) set_counts() { sed -n 's/^\([0-9]*\) passed, \([0-9]*\) failed\(, \([0-9]*\) skipped\)\{0,1\}$/\1 \2 \4/p' "$out" | tail -1; }
          read -r p f s <<END
$(set_counts)
END
          ;;
    *) p=$(grep -c '^\[       OK \]' "$out")
       f=$(grep -c '^\[  FAILED  \] [a-z]' "$out")
       s=$(grep -c '^\[  SKIPPED \] [a-z]' "$out")
       f=$((f / 2 + f % 2)); s=$((s / 2 + s % 2)) ;; # cmocka names them again in its summary
    esac
    p=${p:-0} f=${f:-0} s=${s:-0}
    [ "$status" -ne 0 ] && [ "$f" -eq 0 ] && f=1
    printf '%-40s %4d passed %3d failed %3d skipped  %3d s\n' "$(basename "$t")" "$p" "$f" "$s" \
        $(($(date +%s) - start))
    if [ "$f" -gt 0 ] || [ "$status" -ne 0 ]; then
        bad="$bad $(basename "$t")"
        tail -n 60 "$out"
    elif [ -n "$SHOW" ]; then
        cat "$out"
    elif [ "$s" -gt 0 ]; then
        grep -i '^skip' "$out" | sort -u | head -5
    fi
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
done
[ -n "$bad" ] && echo "failed:$bad"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && [ $((passed + skipped)) -gt 0 ]
