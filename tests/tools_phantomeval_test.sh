#!/bin/sh
# eval_phantoms from the command line, on untrained models.
. "$(dirname "$0")/tools_lib.sh"
E=$T/eval_phantoms
"$T/make_untrained" -o m --size 48 -q || exit 1
M="--clip m/clip.safetensors --sam m/sam.safetensors --progress off --size 48"

# shellcheck disable=SC2086
run() { "$E" $M "$@"; }

check "one method" 0 run -n 9 --seed 5 -o a --cam gradcam --postprocess otsu --pictures 2
for f in scores.csv scores.json index.html; do exists "one method" a/$f; done
prints "method,structure,metric,n,mean,low95,high95,median"
for r in "retrieval" "plain retrieval"; do
    for d in "picture to text" "text to picture"; do
        for k in top1 top2 "top1 ceiling" "top2 ceiling" "top1 masked" "top2 masked"; do prints "$r,$d,$k,9,"; done
    done
done
prints "gradcam,all,mask_dsc,"
prints "box 10 % off,all,mask_dsc,"
same "printed and written" .out a/scores.csv
# By hand: untrained SAM or not, all measures are shares.
awk -F, 'NR > 1 && !($5 >= 0 && $5 <= 1 && $6 <= $5 + 1e-9 && $7 >= $5 - 1e-9) { bad = 1 } END { exit bad }' \
    a/scores.csv && good || bad "means lie in [0,1] and in their intervals"
[ "$(ls a/*_picture.png | wc -l)" -eq 4 ] && good || bad "two pictures, two prompts each"
check "one thread" 0 run -n 9 --seed 5 -o b --cam gradcam --postprocess otsu --threads 1
same "threads do not matter" a/scores.csv b/scores.csv
check "every method" 0 run -n 2 --seed 5 --ablation --topk 4 --rise-masks 9
for m in gscorecam scorecam gradcam++ layercam xgradcam relevance scan "scan*relevance" m2ib eigencam rise; do
    prints "$m,all,pointing,"
done
for k in place_top1 place_most_frequent size_top1; do has "words" a/scores.csv "words,ventricles,$k,"; done
grep -e "^[a-z ]*retrieval" -e "^words" a/scores.csv >r.csv
check "retrieval only" 0 "$E" --clip m/clip.safetensors --size 48 -n 9 --seed 5 --retrieval-only --progress off
sed 1d .out >r.out
same "retrieval only" r.csv r.out
check "demonstration" 0 run -n 100 --seed 5 -o d --demo --pictures 3 --cam relevance
exists "demonstration" d/index.html
absent "demonstration" d/scores.csv
has "the page has the prompt" d/index.html "showing"
check "no model" 2 "$E" -n 2
says "no model"
check "no such method" 2 run -n 2 --cam guess
check "no such file" 1 "$E" -n 2 --clip nowhere.safetensors
report
