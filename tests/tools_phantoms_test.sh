#!/bin/sh
# make_phantoms from the command line: files and lists, the same bytes for any number of threads,
# continuing, refusals.
. "$(dirname "$0")/tools_lib.sh"

check "a set is made" 0 "$T/make_phantoms" -o a --count 12 --seed 3 --size 48 --threads 2
prints "a: 12 pictures"
check "again with one thread" 0 "$T/make_phantoms" -o b --count 12 --seed 3 --size 48 --threads 1
for f in captions.csv prompts.json prompts_other.json images/000004_mri.png masks/000004_mri.png; do
    same "one thread gives the same $f" "a/$f" "b/$f"
done
[ "$(cd a && find . -name '*.png' -exec cksum {} + | sort)" = \
  "$(cd b && find . -name '*.png' -exec cksum {} + | sort)" ] && good || bad "all pictures are the same"
[ "$(ls a/images)" = "$(ls a/masks)" ] && good || bad "a mask for every picture, of the same name"
lines "a caption for every picture" a/captions.csv 13
has "columns" a/captions.csv "filename,caption,group,kind,facts"
has "names are relative" a/captions.csv "images/000005_xray.png,"
has "prompts by name" a/prompts.json '"000004_mri.png"'
has "a prompt for every structure" a/structures.json '"cyst"'
exists "masks of every structure" a/structures/lungs/000002_xray.png
for f in a/masks_other/*.png; do
    has "a prompt for every other structure" a/prompts_other.json "\"$(basename "$f")\""
    differ "another structure" "$f" "a/masks/$(basename "$f")"
done

cp -r a c
rm c/images/000003_ultrasound.png c/masks/000007_mri.png c/captions.csv
check "an interrupted set is continued" 0 "$T/make_phantoms" -o c --count 12 --seed 3 --size 48
same "the picture is back" c/images/000003_ultrasound.png a/images/000003_ultrasound.png
same "the list is back" c/captions.csv a/captions.csv
check "a set is continued" 0 "$T/make_phantoms" -o c --count 15 --seed 3 --size 48
lines "three more" c/captions.csv 16
same "the old ones stay" c/images/000011_xray.png a/images/000011_xray.png
check "another seed in the same folder" 2 "$T/make_phantoms" -o c --count 12 --seed 4 --size 48
says "made with another --seed"
check "by force" 0 "$T/make_phantoms" -o c --count 12 --seed 4 --size 48 --force
differ "another seed, other pictures" c/images/000003_ultrasound.png a/images/000003_ultrasound.png

check "kinds, views, captions" 0 "$T/make_phantoms" -o d --count 4 --seed 1 --size 40 \
    --kinds xray,mri --views crops,spotlight --captions 3
exists "the first kind first" d/images/000000_xray.png
exists "a crop" d/images/000001_mri_crop.png
exists "a spotlight" d/images/000002_xray_spotlight.png
lines "captions of all pictures" d/captions.csv 37
check "views for training, no masks" 0 "$T/make_phantoms" -o f --count 6 --size 40 \
    --views mixed --no-masks
lines "a view of each" f/captions.csv 7
exists "a view" f/images/000005_xray_view.png
absent "no masks" f/masks
check "spotlights, complete captions" 0 "$T/make_phantoms" -o lit --count 30 --size 40 --views mixed --no-masks \
    --no-healthy --spotlights 1 --crops 0 --complete 1
check "no more than one structure" 1 sh -c 'cut -d, -f3 lit/captions.csv | sed "s/no [a-z]*//; s/:+/:/; s/+$//" | grep +'
check "each with place and size" 1 sh -c 'tail -n +2 lit/captions.csv | cut -d, -f3 | grep -v -e "/.*/" -e lungs/'
check "the share is a setting" 2 "$T/make_phantoms" -o lit --count 30 --size 40 --views mixed --no-masks --no-healthy
says "made with another --"
check "masks are wanted after all" 2 "$T/make_phantoms" -o f --count 6 --size 40 --views mixed
check "findings only" 0 "$T/make_phantoms" -o e --count 30 --size 32 --kinds ultrasound --no-healthy
lines "all have a prompt" e/prompts.json 32
check "a contact sheet alone" 0 "$T/make_phantoms" --montage s/sheet.png --count 5 --size 64
exists "a contact sheet alone" s/sheet.png
absent "no folder is made" out
check "statistics: everything stands out" 0 "$T/make_phantoms" --stats --count 90 --size 96
prints "ventricles"

check "a vocabulary" 0 "$T/make_phantoms" --vocab v/vocab.txt
has "words" v/vocab.txt "ventricles"
[ -z "$(sort v/vocab.txt | uniq -d)" ] && good || bad "no word stands twice"
cut -d, -f2 a/captions.csv | tail -n +2 >texts
check "every word is a token" 0 "$T/embed" --vocab v/vocab.txt --text texts --print-tokens
if grep -q '##\|UNK' .out; then bad "words in pieces"; else good; fi

# Interrupted while it works, then continued: the same set as in one go.
"$T/make_phantoms" -o big --count 3000 --size 64 --seed 5 -q --no-masks &
pid=$!
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    [ -d big/images ] && [ "$(ls big/images | wc -l)" -gt 60 ] && break
    sleep 0.1
done
kill -INT $pid
wait $pid
code=$?
if [ $code -eq 130 ]; then good; else bad "interrupted: exit $code"; fi
absent "no list of a part" big/captions.csv
check "continued" 0 "$T/make_phantoms" -o big --count 200 --size 64 --seed 5 -q --no-masks
check "in one go" 0 "$T/make_phantoms" -o once --count 200 --size 64 --seed 5 -q --no-masks
same "continued, the same list" big/captions.csv once/captions.csv
for i in 000000_ultrasound 000100_mri 000199_mri; do
    same "continued, the same picture" big/images/$i.png once/images/$i.png
done

check "no output" 2 "$T/make_phantoms" --count 3
says "no output"
check "a wrong kind" 2 "$T/make_phantoms" -o x --kinds mri,ct
says "'ct': expected ultrasound, mri or xray"
check "a kind twice" 2 "$T/make_phantoms" -o x --kinds mri,mri
check "a wrong view" 2 "$T/make_phantoms" -o x --views zoom
check "too small" 2 "$T/make_phantoms" -o x --size 8
check "no phantoms" 2 "$T/make_phantoms" -o x --count 0
absent "nothing was made" x
check "a full disk" 6 "$T/make_phantoms" --montage /dev/full/x.png --count 1
printf x >file
check "a file instead of a folder" 6 "$T/make_phantoms" -o file --count 1
mkdir g && printf '{"seed":' >g/phantoms.json
check "broken settings" 1 "$T/make_phantoms" -o g --count 1
says "phantoms.json"
check "what would be done" 0 "$T/make_phantoms" -o y --count 5 --dry-run
absent "what would be done" y
report
