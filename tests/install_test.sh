#!/bin/sh
# install_test.sh - the installed library as a user meets it: the README's program, compiled by
# pkg-config alone, prints the cosine that the tool's embeddings give.
. "$(dirname "$0")/tools_lib.sh"
[ "${BUILD:-release}" = release ] || { skip "only the release build is installed"; report; }
make -s -C "$top" install DESTDIR="$tmp/root" PREFIX=/opt/mcs >/dev/null || bad "make install"
export PKG_CONFIG_PATH="$tmp/root/opt/mcs/lib/pkgconfig" PKG_CONFIG_SYSROOT_DIR=
sed -i "s|^prefix=.*|prefix=$tmp/root/opt/mcs|" "$PKG_CONFIG_PATH/mcs.pc"
awk '/^```c$/ { on = 1; next } /^```$/ { on = 0 } on' "$top/README.md" >program.c
check "compile the README's program" 0 sh -c \
    '${CC:-cc} -Wall -Wextra -Werror program.c -o program $(pkg-config --cflags --libs mcs)'
check "models" 0 "$tmp/root/opt/mcs/bin/make_untrained" -o models --seed 3 -q
check "run" 0 ./program models/clip.safetensors models/picture.png "a breast cyst"
cp .out cosine.txt
if awk '{ exit !($1 >= -1 && $1 <= 1 && $1 != 0) }' cosine.txt; then good; else bad "no cosine"; fi
check "usage" 1 ./program
check "missing file" 1 ./program nowhere.bin models/picture.png x
says nowhere.bin
for tool in zeroshot_seg embed inspect_weights bench; do
    check "installed $tool" 0 "$tmp/root/opt/mcs/bin/$tool" --version
done
for h in $(cd "$tmp/root/opt/mcs/include/mcs" && find . -name '*.h'); do
    echo "#include \"$h\"" >one.c
    check "$h stands alone" 0 sh -c '${CC:-cc} -Wall -Werror -fsyntax-only one.c $(pkg-config --cflags mcs)'
done
report
