#!/bin/sh
# weights/mini/make.sh in miniature: every step, stopped and started again; what it leaves behind works.
. "$(dirname "$0")/tools_lib.sh"
export MINI_SCALE=0.001 MINI_OUT="$tmp/mini" MINI_TOOLS="$T" MINI_THREADS=1
make="$top/weights/mini/make.sh"
"$make" >first.log 2>&1 &
pid=$!
for i in $(seq 300); do [ -e mini/work/logs/place/latest ] && break; sleep 0.1; done
kill -9 $pid
wait $pid 2>/dev/null
absent "killed in the middle" mini/README.md
# the tool that it ran may live on for a moment and lock its folder
check "goes on" 0 sh -c 'for i in $(seq 20); do "$0" && exit; sleep 3; done; exit 1' "$make"
prints "done in"
for f in clip.safetensors sam.safetensors vocab.txt zeroshot.json README.md; do exists "results" mini/$f; done
absent "the work is gone" mini/work
has "the card has figures" mini/README.md "Retrieval in batches of 50"
has "the card has words" mini/README.md "| structure | is it there: AUC |"
has "the card has ceilings" mini/README.md "| complete | picture to text | 0."
has "the card says what they are" mini/README.md "phantoms, not patients"
hasnot "the card has no path of this machine" mini/README.md "$tmp"
check "whole already" 0 "$make"
prints "has its models"
"$T/make_untrained" -o m --size 96 -q
check "zeroshot_seg uses them" 0 "$T/zeroshot_seg" --models mini -i m/picture.png -o out \
    -p "chest x-ray showing the heart" --progress off
exists "zeroshot_seg uses them" out/masks/picture.png
check "eval_phantoms uses them" 0 "$T/eval_phantoms" --models mini --demo --pictures 1 --cam relevance -n 9 -o page --progress off
exists "eval_phantoms uses them" page/index.html
report
