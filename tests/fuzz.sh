#!/bin/sh
# fuzz.sh [NAME...] - libFuzzer with ASan and UBSan on every tests/fuzz_NAME.c, FUZZ_SECONDS each
# (default 60).  Findings are left in build/fuzz/.
cd "$(dirname "$0")/.." || exit 1
command -v clang >/dev/null || { echo "fuzz.sh: clang is needed (apt-get install clang)"; exit 1; }
dir=build/fuzz
mkdir -p $dir/corpus
make -s BUILD=fuzz CC=clang OPT_fuzz="-O1 -g -fsanitize=fuzzer-no-link,address,undefined" \
    LINK_fuzz="-fsanitize=address,undefined" build/fuzz/libmcs.a || exit 1
bad=0
for f in tests/fuzz_*.c; do
    name=$(basename "$f" .c)
    case " $* " in "  ") ;; *" ${name#fuzz_} "*) ;; *) continue ;; esac
    # shellcheck disable=SC2046
    clang -std=c11 -D_POSIX_C_SOURCE=200809L -I. -O1 -g -fsanitize=fuzzer,address,undefined \
        $(pkg-config --cflags openblas) "$f" $dir/libmcs.a -o $dir/"$name" \
        $(pkg-config --libs openblas zlib jansson libpng libjpeg libutf8proc) -lm -pthread || exit 1
    mkdir -p $dir/corpus/"$name"
    $dir/"$name" -max_total_time="${FUZZ_SECONDS:-60}" -max_len=65536 -rss_limit_mb=2048 \
        -timeout=5 -artifact_prefix=$dir/"$name"- -print_final_stats=1 $dir/corpus/"$name" \
        $(ls -d tests/golden 2>/dev/null) 2>$dir/"$name".log
    status=$?
    grep -E 'number_of_executed_units|SUMMARY' $dir/"$name".log | sed "s/^/$name: /"
    [ $status -eq 0 ] || bad=1
done
exit $bad
