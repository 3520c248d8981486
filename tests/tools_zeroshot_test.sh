#!/bin/sh
# zeroshot_seg from the command line, on untrained models: outputs, resume, failures, refusals.
. "$(dirname "$0")/tools_lib.sh"
Z=$T/zeroshot_seg
"$T/make_untrained" -o m --size 64 -q || exit 1
M="--clip m/clip.safetensors --sam m/sam.safetensors --topk 8 --progress off"

mkdir -p in/sub gt
cp m/picture.png in/a.png
"$T/make_untrained" -o m2 --size 48 --seed 5 -q
cp m2/picture.png in/sub/a.png
hostile='-i $(rm -rf x) [1] <script>alert("1")</script>'
hostile=$(printf '%s' "$hostile" | tr / _)
cp m2/picture.png "in/$hostile.png"
cp m/picture.png "$(printf 'in/new\nline.png')"
head -c 700 m/picture.png >in/broken.png
cp m/truth.png gt/a.png

# shellcheck disable=SC2086
run() { "$Z" $M "$@"; }

check "one picture" 0 run -i in/a.png -o one -p 'a "cyst" <b>' --html \
    --save mask,overlay,saliency,coarse,heat,npy,rle
prints "done 1, skipped 0, failed 0: one"
for f in masks/a.png overlays/a.png saliency/a.png coarse/a.png heat/a.png npy/a.npy rle/a.json \
    index.html run.json results.jsonl; do
    exists "one picture" one/$f
done
absent "one picture" one/errors.jsonl
absent "the lock is gone" one/.lock
has "the prompt is escaped" one/index.html 'a &#34;cyst&#34; &#60;b&#62;'
has "weights are named by hash" one/run.json "$(sha256sum <m/sam.safetensors | cut -c1-64)"
has "the picture is named by hash" one/results.jsonl "$(sha256sum <m/picture.png | cut -c1-64)"
has "map is 16 bits deep" one/npy/a.npy "'shape': (64, 85, )"

check "a folder with one broken picture" 3 run -i in -r -o all -p cyst --html --gt gt
says "in/broken.png"
lines "the other four are done" all/results.jsonl 4
lines "one failed" all/errors.jsonl 1
exists "same stem in a subfolder" all/masks/sub/a.png
exists "a hostile name" "all/masks/$hostile.png"
hasnot "names are escaped in the page" all/index.html '<script>'
has "names are escaped in links" all/index.html '%3Cscript%3E'
has "metrics" all/metrics.csv 'Name,DSC,IoU'
lines "metrics" all/metrics.csv 2

cp all/masks/a.png before.png
check "again: nothing to do but the broken one" 3 run -i in -r -o all -p cyst --html --gt gt
prints "done 0, skipped 4, failed 1"
lines "no line twice" all/results.jsonl 4
rm all/masks/a.png
check "a missing mask is made again" 3 run -i in -r -o all -p cyst
prints "done 1, skipped 3, failed 1"
same "and is the same" before.png all/masks/a.png
printf '{"input":"torn' >>all/results.jsonl
check "a torn line is ignored" 3 run -i in -r -o all -p cyst
says "torn"
check "other settings are refused" 2 run -i in -r -o all -p cyst --tau 1.2
says "--tau was 1.05 and is 1.2 now"
check "other prompts are refused" 2 run -i in -r -o all -p mass
says "--prompt was"
cp m2/sam.safetensors other.safetensors
check "other weights are refused" 2 run -i in -r -o all -p cyst --sam other.safetensors
says "--sam"
check "--force starts over" 3 run -i in -r -o all -p cyst --tau 1.2 --force
lines "--force starts over" all/results.jsonl 4

check "threads do not change results" 0 run -i in/a.png -o thr -p 'a "cyst" <b>' --threads 1
same "threads do not change results" thr/masks/a.png one/masks/a.png
for i in 1 2 3; do
    run -i in -r -o parts -p cyst --shard $i/3 -q >/dev/null 2>&1 &
done
wait
lines "three shards at once" parts/results.jsonl 4
same "three shards at once" parts/masks/a.png before.png

check "a label map" 0 run -i in/a.png -o lab --class cyst=cyst --class 'mass=a mass' \
    --class 'mass=a tumor' --save mask,saliency --html
has "labels are recorded" lab/run.json '"mass": 2'
exists "a map per class" lab/saliency/a.2-mass.png
printf '{"a.png": "cyst"}' >p0.json
check "negatives" 0 run -i in/a.png -o neg -p cyst --negative mass --negative 'a picture' --save saliency,npy
has "negatives are recorded" neg/results.jsonl '"negative":["mass","a picture"]'
check "less its map" 0 run -i in/a.png -o negmap -p cyst --negative mass --negative-mode map \
    --negative-weight 0.5
check "rivals" 0 run -i in/a.png -o riv --class cyst=cyst --class mass=mass --rivals --save mask,npy
has "rivals are recorded" riv/results.jsonl '"negative":["mass"]'
check "less itself by name, once more" 0 run -i in/a.png -o riv2 --class cyst=cyst --class mass=mass \
    --save mask,npy
check "a rival of one class" 0 run -i in/a.png -o riv1 -p cyst --negative mass --save mask,npy
cmp -s riv/npy/a.1-cyst.npy riv2/npy/a.1-cyst.npy && bad "rivals change the map" || good
same "rivals are negatives" riv/npy/a.1-cyst.npy riv1/npy/a.npy
check "negatives with prompts by picture" 0 run -i in/a.png -o negjson --prompt-json p0.json --negative mass
same "negatives with prompts by picture" negjson/masks/a.png riv1/masks/a.png
check "rivals of nobody" 2 run -i in/a.png -o o6 -p x --rivals
check "negatives of a box" 2 run -i in/a.png -o o6 --box 1,1,9,9 --negative x
check "an empty negative" 2 run -i in/a.png -o o6 -p x --negative ' '
check "a negative for relevance that is absent" 1 run -i in/a.png -o o6 -p x --negative y \
    --negative-mode relevance
says "add it to the product"
check "refinement, holes, background points" 0 run -i in/a.png -o ref -p cyst --refine 2 --multimask \
    --fill-holes 100 --prompts both --num-background-points 5
check "refinement, the same plain" 0 run -i in/a.png -o noref -p cyst --multimask --prompts both
cmp -s ref/results.jsonl noref/results.jsonl && bad "refinement changes the mask" || good
check "a box needs no text model" 0 "$Z" --sam m/sam.safetensors -i in/a.png -o box --box 10,10,40,40
has "a box needs no text model" box/results.jsonl '"sam_boxes":[[10.0,10.0,40.0,40.0]]'
check "points" 0 "$Z" --sam m/sam.safetensors -i in/a.png -o pts --points '20,20,+;3,3,-'
check "no SAM: the coarse mask is the result" 0 "$Z" --clip m/clip.safetensors -i in/a.png -o coarse \
    -p cyst --topk 8
exists "no SAM" coarse/coarse/a.png
absent "no SAM" coarse/masks
printf '{"a.png": ["cyst", "a cyst"], "sub/a.png": "mass"}' >p.json
check "prompts by picture" 3 run -i in -r -o byp --prompt-json p.json
lines "prompts by picture" byp/results.jsonl 2
says "--prompt-json has no entry"
printf '{"a": [[5,5,30,30]]}' >b.json
check "boxes by picture, text for the others" 3 run -i in -r -o byb --boxes b.json -p cyst
check "events as JSON lines" 0 run -i in/a.png -o log -p cyst --log-json log.jsonl --check-prompt -v
lines "loaded, begin, time, done, end" log.jsonl 5
has "events as JSON lines" log.jsonl '"event":"done","input":"a.png"'
has "--check-prompt" log/results.jsonl '"nonsense_corr":'
check "the settings of a run as --config" 0 run -i in/a.png -o cfg --config one/run.json -o cfg
same "the settings of a run as --config" cfg/masks/a.png one/masks/a.png
for how in otsu kmeans threshold none; do
    check "coarse mask by $how" 0 run -i in/a.png -o "by-$how" -p cyst --postprocess $how
done
for how in scorecam gradcam gradcam++ layercam xgradcam; do
    check "saliency by $how" 0 run -i in/a.png -o "by-$how" -p cyst --cam $how \
        --cam-layer visual.trunk.blocks.1.norm1 --cam-gradient patch
done
for how in m2ib eigencam rise m2ib*relevance; do
    check "saliency by $how" 0 run -i in/a.png -o "by-$how" -p cyst --cam "$how" --m2ib-steps 3 \
        --rise-masks 30
done
check "another seed" 0 run -i in/a.png -o seed7 -p cyst --cam m2ib --m2ib-steps 3 --seed 7 --save npy
check "the same seed" 0 run -i in/a.png -o seed7b -p cyst --cam m2ib --m2ib-steps 3 --seed 7 --save npy
same "the same seed" seed7/npy/a.npy seed7b/npy/a.npy
check "a bottleneck after the last block" 1 run -i in/a.png -o o5 -p x --cam m2ib --m2ib-layer 2
says "m2ib_layer is 2"
check "m2ib by its name in version 2" 0 run -i in/a.png -o v2 -p x --cam m2ib --vlayer 1 --vbeta 0.1
check "a bottleneck's step out of range" 2 run -i in/a.png -o o5 -p x --cam m2ib --m2ib-lr 0
check "the released code's way" 0 run -i in/a.png -o official -p cyst --preset official-code
check "version 2's way" 0 run -i in/a.png -o second -p cyst --preset v2 --m2ib-steps 3
has "version 2's way" second/run.json '"cam": "m2ib"'
has "version 2's way" second/run.json '"postprocess": "kmeans"'
check "16 bits, by a window" 0 run -i one/saliency/a.png -o w16 -p cyst --window 32768,65536
has "16 bits, by a window" w16/results.jsonl '"grey_range":[0.0,65536.0]'
check "16 bits, by percentiles" 0 run -i one/saliency/a.png -o n16 -p cyst --normalize percentile:1,99
check "a window without width" 2 run -i in/a.png -o o -p x --window 5,0
check "our own masks as ground truth" 0 run -i in/a.png -o self -p 'a "cyst" <b>' --gt one/masks
has "our own masks as ground truth" self/metrics.csv 'a.png,1.000000,1.000000'
check "layers" 0 "$Z" --list-layers --clip m/clip.safetensors
prints "visual.trunk.blocks.2.norm2"
check "dry run" 0 run -i in/a.png -o dry -p cyst --dry-run
absent "dry run writes nothing" dry

check "nothing to look for" 2 run -i in -o o
check "no input" 2 run -o o -p x
check "no output" 2 run -i in -p x
check "an input that is absent" 1 run -i nothing -o o -p x
says "nothing"
mkdir empty
check "an empty folder" 1 run -i empty -o o -p x
check "only a broken picture" 1 run -i in/broken.png -o o -p x
check "a layer that is not there" 1 run -i in/a.png -o o3 -p x --cam-layer visual.trunk.blocks.9
check "a wrong flag" 2 run -i in -o o -p x --post-process crf
says "did you mean --postprocess?"
check "a wrong choice" 2 run -i in -o o -p x --postprocess crff
check "a number out of range" 2 run -i in -o o -p x --threshold 1.5
head -c 9000 m/sam.safetensors >cut.safetensors
check "a model cut short" 4 "$Z" --sam cut.safetensors -i in/a.png -o o2 --box 1,1,9,9
says "cut.safetensors"
check "a limit of memory" 5 run -i in/a.png -o o4 -p x --mem-limit 100K
check "a folder that cannot be made" 6 run -i in/a.png -o /dev/null/x -p x

# Stopping: the picture under work is finished, the next run goes on.
mkdir many
for i in 1 2 3 4 5 6 7 8 9 10 11 12; do cp m/picture.png many/$i.png; done
# shellcheck disable=SC2086
"$Z" $M -i many -o stop -p cyst >/dev/null 2>&1 &
pid=$!
while [ ! -s stop/results.jsonl ] && kill -0 $pid 2>/dev/null; do sleep 0.02; done
kill -TERM $pid
wait $pid
code=$?
what="SIGTERM"
if [ $code -eq 143 ]; then good; else bad "SIGTERM: exit $code, expected 143"; fi
absent "SIGTERM leaves no lock" stop/.lock
check "the next run goes on" 0 run -i many -o stop -p cyst
lines "the next run goes on" stop/results.jsonl 12
# A mask of another size is no ground truth: the picture is done, the mask is named, exit code 3.
mkdir -p wrongsize
"$T/make_untrained" -o other --seed 1 --size 64 -q
cp other/truth.png "wrongsize/picture.png"
cp models/picture.png picture.png 2>/dev/null || "$T/make_untrained" -o . --seed 1 -q
check "--gt of another size" 3 "$T/zeroshot_seg" -i picture.png -o wrong --clip other/clip.safetensors \
    --sam other/sam.safetensors --prompt cyst --topk 4 --gt wrongsize -q
says "not compared"
has "errors.jsonl names the mask" wrong/errors.jsonl wrongsize/picture.png
exists "the mask is there" wrong/masks/picture.png
report
