#!/bin/sh
# lint.sh - rules that no compiler checks: layering, what a library may not do, sizes, format.
cd "$(dirname "$0")/.." || exit 1
bad=0
fail() { echo "lint: $1"; bad=1; }

# Layers: a folder includes only itself and those to its right.
allowed() { # folder, regular expression of permitted folders
    for f in "$1"/*.c "$1"/*.h; do
        [ -e "$f" ] || continue
        out=$(grep -nE '^#include "' "$f" | grep -vE "#include \"($2)/" )
        [ -z "$out" ] || fail "$f includes a layer above it: $out"
    done
}
allowed tensor 'tensor'
allowed nn 'nn|tensor'
allowed weights 'weights|nn|tensor'
allowed image 'image|tensor'
allowed losses 'losses|nn|tensor'
allowed cam 'cam|image|nn|tensor'
allowed models 'models|cam|losses|image|weights|nn|tensor'
allowed tools 'tools|models|cam|losses|image|weights|nn|tensor'
for f in tools/*.c tools/*.h; do
    out=$(grep -nE '#include "[a-z]+/([a-z_]*_internal|op|gemm|vec)\.h"' "$f")
    [ -z "$out" ] || fail "$f uses a private header: $out"
done

# The library never prints, exits or aborts; BLAS has one door; no mutable globals.
libs="tensor nn weights image losses cam models"
for d in $libs; do
    out=$(grep -nE '(^|[^a-z_])(exit|abort|printf|puts|perror|system|popen) *\(' "$d"/*.c 2>/dev/null |
          grep -vE '^\S+:[0-9]+: *(\*|/\*)')
    [ -z "$out" ] || fail "output or exit in the library: $out"
done
out=$(grep -l 'cblas.h' tensor/*.c nn/*.c models/*.c cam/*.c | grep -v '^tensor/gemm.c$')
[ -z "$out" ] || fail "BLAS outside tensor/gemm.c: $out"
if [ -e libmcs.a ]; then
    # .data.rel.ro is constant: tables of function pointers that the loader fills in once.
    out=$(objdump -t libmcs.a 2>/dev/null | grep -E ' O \.(data|bss)' | grep -v 'data\.rel\.ro')
    [ -z "$out" ] || fail "mutable file-scope data: $out"
fi

# Names and sizes.
out=$(find $libs tools tests -name '*.[ch]' -printf '%f\n' | sort | uniq -d)
[ -z "$out" ] || fail "file names used twice: $out"
# html_entities.c is one table.
out=$(find $libs tools tests -name '*.[ch]' ! -name html_entities.c -exec wc -l {} + | awk '$1 > 400 && $2 != "total"')
[ -z "$out" ] || fail "files over 400 lines: $out"

if command -v clang-format >/dev/null; then
    out=$(find $libs tools tests mcs.h -name '*.[ch]' -print0 | xargs -0 clang-format --dry-run 2>&1 |
          grep -c 'clang-format-violations')
    [ "$out" -eq 0 ] || echo "lint: note: clang-format would change $out places"
fi
if command -v cppcheck >/dev/null; then
    cppcheck --quiet --std=c11 '-Djson_object_foreach(object,key,value)=for(;;)' --enable=warning,performance,portability --inline-suppr -I. \
        --suppress=missingIncludeSystem --suppress='preprocessorErrorDirective:tensor/vec_*.h' --error-exitcode=1 $libs tools || fail "cppcheck"
fi
[ $bad -eq 0 ] && echo "lint: clean"
exit $bad
