#!/bin/sh
# embed and make_untrained from the command line: rows, tokens, refusals, hostile names.
. "$(dirname "$0")/tools_lib.sh"

check "a pair of models is made" 0 "$T/make_untrained" -o m --seed 3
check "again, elsewhere" 0 "$T/make_untrained" -o n --seed 3
for f in clip.safetensors sam.safetensors vocab.txt picture.png; do
    same "the same seed gives the same $f" "m/$f" "n/$f"
done
check "make_untrained wants a folder" 2 "$T/make_untrained"
says "no output folder"

mkdir in
cp m/picture.png "in/b.png"
cp m/picture.png "in/-i \$(rm -rf x) [1].png"
printf 'not a picture' >in/c.png
check "a folder with one broken picture" 3 "$T/embed" --clip m/clip.safetensors -i in -o a/e.npy
says "row 2: in/c.png"
check "one thread gives the same bytes" 3 "$T/embed" --clip m/clip.safetensors -i in -o f.npy \
    --threads 1
same "one thread gives the same bytes" a/e.npy f.npy
has "rows in order, float32" a/e.npy "'<f4', 'fortran_order': False, 'shape': (3, 32, )"
printf 'in/b.png\r\nin/b.png\n' >list
check "a list may name a file twice" 0 "$T/embed" --clip m/clip.safetensors --list list -o g.npy
has "a list may name a file twice" g.npy "(2, 32, )"
check "a hostile name" 0 "$T/embed" --clip m/clip.safetensors -i "in/-i \$(rm -rf x) [1].png" -o h.npy

printf 'a medical ultrasound image\n\nx\n' >texts
check "tokens need only a vocabulary" 0 "$T/embed" --vocab m/vocab.txt --text texts --print-tokens
prints "[CLS] a medical ultrasound image [SEP]"
check "a row per line, empty ones too" 0 "$T/embed" --clip m/clip.safetensors --text texts -o t.npy
has "a row per line, empty ones too" t.npy "(3, 32, )"

check "pictures or texts, not both" 2 "$T/embed" --clip m/clip.safetensors -i in -p x -o o.npy
check "neither" 2 "$T/embed" --clip m/clip.safetensors -o o.npy
check "no model" 2 "$T/embed" -i in -o o.npy
check "a wrong flag names the nearest" 2 "$T/embed" --clipp m/clip.safetensors -i in -o o.npy
says "did you mean --clip?"
check "a model that is no model" 4 "$T/embed" --clip in/b.png -p x -o o.npy
says "in/b.png"
check "a model that is absent" 1 "$T/embed" --clip none.pt -p x -o o.npy
says "none.pt"
head -c 5000 m/clip.safetensors >cut.safetensors
cp m/vocab.txt vocab.txt
check "a model cut short" 4 "$T/embed" --clip cut.safetensors -p x -o o.npy
check "no memory" 5 "$T/embed" --clip m/clip.safetensors -i in/b.png -o o.npy --mem-limit 4K
check "a full disk" 6 "$T/embed" --clip m/clip.safetensors -p x -o /dev/full/x.npy
check "an input that is absent" 1 "$T/embed" --clip m/clip.safetensors -i nothing.png -o o.npy
absent "no output of a failed run" o.npy
check "help" 0 "$T/embed" --help
prints "usage: embed"
check "version" 0 "$T/embed" --version
prints "embed (mcs)"
report
