#!/bin/sh
# train_unet and predict_unet from the command line: learning, cycles, resuming after kills, what
# masks may be, refusals; masks at native size, ensembles, resuming of predictions.
# KILLS=50 tests/tools_unet_test.sh kills more often.
. "$(dirname "$0")/tools_lib.sh"
F=$T/train_unet P=$T/predict_unet
net="--size 32 --channels 4,8,16 --progress off"

"$T/make_phantoms" -o d --count 24 --size 48 --seed 3 --kinds xray -q
"$T/make_phantoms" -o v --count 6 --size 56 --seed 9 --kinds xray -q
gt=structures/heart
for s in d v; do # only pictures that show the heart
    for f in $s/images/*; do [ -e "$s/$gt/$(basename "$f")" ] || rm "$f"; done
done
data="-i d/images -m d/$gt"
train="$F $data $net --batch-size 4"
column() { awk -F, -v n="$3" -v k="$2" 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == k) c = i } NR == n + 1 { print $c }' "logs/$1/metrics.csv"; }
atleast() { if awk "BEGIN{exit !(${2:-0} >= $3)}"; then good; else bad "$1: $2, expected at least $3"; fi; }

# ---- It learns, and writes what it says
check "it learns" 0 "$F" $data --val-images v/images --val-masks v/$gt $net --batch-size 4 --epochs 25 --lr 0.01 \
    --name s --save-frequency 10
prints "25 epochs"
says "masks: 0 and 255"
for f in params.json log.jsonl metrics.csv curves.svg latest best left_out.jsonl; do exists "it learns" logs/s/$f; done
lines "a line per epoch" logs/s/metrics.csv 26
atleast "the loss falls" "$(column s train_loss 1)" "$(column s train_loss 25)"
atleast "the loss falls by a third" "$(awk "BEGIN{print $(column s train_loss 1) * 0.67}")" "$(column s train_loss 25)"
atleast "DSC of held-out pictures" "$(column s dsc 25)" 0.5
W=logs/s/checkpoints/epoch_25.safetensors

# ---- Threads, the cache and their number of pictures in memory do not matter
check "one thread" 0 $train --epochs 2 --name t1 --threads 1
check "three threads, no cache" 0 $train --epochs 2 --name t3 --threads 3 --cache 0
same "neither matters" logs/t1/checkpoints/epoch_2.safetensors logs/t3/checkpoints/epoch_2.safetensors
check "accumulated" 0 $train --epochs 2 --name t4 --batch-size 2 --accum-freq 2
near() { awk "BEGIN{d = $2 - $3; exit !(d < $4 && -d < $4)}" && good || bad "$1: $2, $3"; }
near "accumulated" "$(column t1 train_loss 2)" "$(column t4 train_loss 2)" 1e-4
check "other seed" 0 $train --epochs 2 --name t5 --seed 1
differ "the seed matters" logs/t1/checkpoints/epoch_2.safetensors logs/t5/checkpoints/epoch_2.safetensors
check "without augmentation" 0 $train --epochs 2 --name t6 --aug none
differ "augmentation matters" logs/t1/checkpoints/epoch_2.safetensors logs/t6/checkpoints/epoch_2.safetensors
check "patches, grey, SGD, batch norm" 0 $train --epochs 2 --name t7 --sampling patch --colour grey \
    --optimizer sgd --lr 0.01 --norm batch --loss 0.5*dice+focal --lr-scheduler cosine --dropout 0.1 --val-share 0.3
check "from a checkpoint" 0 $train --epochs 1 --name t8 --pretrained $W --freeze model.0
check "diff" 8 "$T/inspect_weights" diff $W logs/t8/checkpoints/epoch_1.safetensors
cp "$tmp/.out" diff.txt
hasnot "frozen weights stay" diff.txt "model.0."

# ---- Cycles: a checkpoint of each is kept
check "cycles" 0 $train --epochs 9 --cycles 3 --cycle-saves 2 --name c --keep 1
for n in 2 3 5 6 8 9; do exists "kept of each cycle" logs/c/checkpoints/epoch_$n.safetensors; done
for n in 1 4 7; do absent "others go" logs/c/checkpoints/epoch_$n.safetensors; done
near "the rate begins anew" "$(column c lr 1)" "$(column c lr 4)" 1e-7
check "too many cycles" 2 $train --epochs 2 --cycles 3 --name x

# ---- Early stop
check "early stop" 0 $train --val-share 0.3 --epochs 50 --lr 0 --patience 2 --name e
prints "3 epochs"
check "no picture is left" 1 $train --val-share 0.001 --name x

# ---- Killed at any moment and resumed: the same bytes
killed "${KILLS:-8}" 500 epoch_9 "$F" $data --val-share 0.3 $net --batch-size 3 --epochs 9 --cycles 3 --dropout 0.2 \
    --save-every-steps 1 --resume latest --quiet --sampling patch

# ---- SIGTERM saves
terminated "$F" $data $net --epochs 4000 --resume latest

# ---- Native size, ensembles, resuming
check "predict" 0 "$P" -i v/images -o p --weights $W --save mask,prob,uncertainty,overlay --html --progress off
n=$(ls v/images | wc -l)
prints "done $n, skipped 0, failed 0: p"
one=$(basename "$(ls v/images/* | head -n 1)")
for k in masks prob uncertainty uncertainty_overlays overlays; do exists "predict" "p/$k/$one"; done
for f in run.json results.jsonl index.html; do exists "predict" p/$f; done
has "native size" p/results.jsonl '"width":56,"height":56'
lines "a line per picture" p/results.jsonl "$n"
check "again" 0 "$P" -i v/images -o p --weights $W --save mask,prob,uncertainty,overlay --progress off
prints "done 0, skipped $n"
rm "p/masks/$one"
check "a lost mask is made again" 0 "$P" -i v/images -o p -w $W --save mask,prob,uncertainty,overlay --progress off
prints "done 1"
check "another net" 2 "$P" -i v/images -o p -w logs/c/checkpoints/epoch_3.safetensors --save mask,prob,uncertainty,overlay
says "by its hash"
check "other settings" 2 "$P" -i v/images -o p -w $W --save mask,prob,uncertainty,overlay --threshold 0.3
says "--threshold was"
check "the same twice is the same" 0 "$P" -i v/images -o p1 --weights $W $W --save mask,prob --progress off
same "an ensemble of equals" "p/prob/$one" "p1/prob/$one"
check "an ensemble, states are skipped" 0 "$P" -i v/images -o p2 --save mask,prob,uncertainty --weights logs/c/checkpoints/epoch_[69].* --progress off
has "an ensemble" p2/run.json '"unet2"'
hasnot "an ensemble" p2/run.json '"unet3"'
differ "an ensemble" "p/prob/$one" "p2/prob/$one"
check "sliding" 0 "$P" -i v/images -o p3 -w $W --inference sliding --overlap 0.25 --flips --threads 1 --progress off
check "sliding, three threads" 0 "$P" -i v/images -o p4 -w $W --inference sliding --overlap 0.25 --flips --threads 3 --progress off
same "threads do not matter" "p3/masks/$one" "p4/masks/$one"
check "a shard" 0 "$P" -i v/images -o p5 -w $W --shard 1/2 --progress off
check "the other" 0 "$P" -i v/images -o p5 -w $W --shard 2/2 --progress off
lines "both shards" p5/results.jsonl "$n"

# ---- Several classes: label maps of zeroshot_seg, here of untrained models
"$T/make_untrained" -o u --size 48 -q
check "label maps" 0 "$T/zeroshot_seg" -i d/images -o zc --clip u/clip.safetensors --sam u/sam.safetensors --postprocess otsu \
    --cam relevance --class heart="a heart" --class lung="the lungs of a patient" --progress off
check "several classes" 0 "$F" -i d/images -m zc/masks $net --epochs 2 --name k --val-share 0.3 --batch-size 4
says "maps of 2 labels besides 0: 1, 2"
has "several classes" logs/k/log.jsonl dsc_of
check "predict several classes" 0 "$P" -i v/images -o pk -w logs/k/checkpoints/epoch_2.safetensors \
    --save mask,prob,uncertainty,overlay --html --progress off
for k in 1 2; do exists "a probability of each" "pk/prob/${one%.png}.$k.png"; done
has "areas by label" pk/results.jsonl '"areas":{'
check "predictions are masks again" 0 "$F" -i v/images -m pk/masks $net --epochs 1 --name kk --labels map --keep-empty
check "another number of classes" 2 $train --epochs 1 --pretrained logs/k/checkpoints/epoch_2.safetensors --name x5
says "has 3 classes"
check "mixed nets" 4 "$P" -i v/images -o p6 -w $W logs/t7/checkpoints/epoch_2.safetensors
says "cannot be averaged"

# ---- SAM's estimates
mkdir -p zs/masks
cp d/$gt/*.png zs/masks
ls d/images | awk '{ sub(/\.png$/, ""); q = NR % 3 == 0 ? 0.5 : 0.9
    printf "{\"input\":\"%s.png\",\"mask\":\"masks/%s.png\",\"iou_pred\":[%s]%s}\n", $0, $0, q, NR == 1 ? ",\"rejected\":true" : "" }' >zs/results.jsonl
total=$(ls d/images | wc -l)
check "filtered" 0 "$F" -i d/images -m zs/masks $net --min-iou 0.7 --epochs 1 --name q
lines "filtered" logs/q/left_out.jsonl $((total / 3 + 1))
has "filtered" logs/q/left_out.jsonl "below --min-iou"
has "filtered" logs/q/left_out.jsonl "rejected"
check "weighted" 0 "$F" -i d/images -m zs/masks $net --weight-iou --epochs 1 --name qw
lines "weighted" logs/qw/left_out.jsonl 1
check "no estimates" 1 "$F" $data $net --min-iou 0.7 --name x
says "results.jsonl: not found"
check "all too low" 1 "$F" -i d/images -m zs/masks $net --min-iou 0.95 --name x
says "can be used ($total left out)"

# ---- Broken, missing, empty, of another size
mkdir bad badgt
for f in d/images/*; do cp "$f" bad && cp "d/$gt/$(basename "$f")" badgt; done
set -- $(ls bad)
head -c 200 "d/images/$1" >"bad/$1"
rm "badgt/$2" "bad/$3"
printf 'no picture' >"badgt/$4"
cp u/truth.png "badgt/$5"
check "unusable files are left out" 3 "$F" -i bad -m badgt $net --epochs 1 --name bad
lines "errors.jsonl lists them" logs/bad/errors.jsonl 5
has "missing" logs/bad/errors.jsonl "no mask of the name"
has "an orphan" logs/bad/errors.jsonl "a mask without a picture"
has "shape" logs/bad/errors.jsonl "another shape"
check "or stop" 1 "$F" -i bad -m badgt $net --on-error stop --name x
mkdir single singlegt
cp "d/images/$6" single && cp "d/$gt/$6" singlegt
check "one picture" 0 "$F" -i single -m singlegt $net --epochs 2 --name one
says "there are only 1 pictures"
check "all masks empty" 1 "$F" -i single -m d/structures/none $net --name x
says "no such folder"
check "two folders" 0 "$F" $data -i single -m singlegt $net --epochs 1 --name two
says "$((total + 1)) pictures for training"
check "folders out of step" 2 "$F" $data -i single $net --name x
says "2 folders of pictures and 1 of masks"
check "broken pictures in predictions" 3 "$P" -i bad -o pb -w $W --progress off
lines "are listed" pb/errors.jsonl 1
check "nothing but broken ones" 1 "$P" -i "bad/$1" -o pb1 -w $W

# ---- Settings and refusals
check "an earlier run is not overwritten" 2 $train --name t1
check "changed settings" 2 $train --name t1 --epochs 2 --resume latest --rotate 90
says "another --rotate"
check "changed data" 2 "$F" -i single -m singlegt $net --batch-size 4 --name t1 --epochs 2 --resume latest
says "other data"
check "NaN" 7 $train --lr 10 --wd 10 --epochs 400 --name nan --grad-clip-norm 0 --lr-scheduler const --quiet --norm none --save-every-steps 1
exists "NaN keeps the last checkpoint" logs/nan/latest
check "the kept checkpoint is good" 0 "$T/inspect_weights" verify "logs/nan/checkpoints/$(cat logs/nan/latest).safetensors"
check "a disk that fills up" 6 sh -c "trap '' XFSZ; ulimit -f 20; exec $train --name disk"
absent "a disk that fills up" logs/disk/latest
check "a full disk" 6 $train --logs /dev/full --name x
check "a full disk" 6 "$P" -i v/images -o /dev/full -w $W
check "too little memory" 5 $train --mem-limit 100K --name x2
check "too little memory" 5 "$P" -i v/images -o px --mem-limit 20K -w $W
check "a side that does not fit" 2 $train --size 34 --name x3
says "not a multiple of 4"
check "a loss" 2 $train --loss dice+hinge --name x
check "a list of channels" 2 $train --channels 4,,8 --name x
check "half a validation" 2 $train --val-images v/images --name x
check "an unknown prefix" 2 $train --freeze nothing. --name x4
check "another model" 4 "$P" -i v/images -o px -w u/sam.safetensors
check "no such file" 1 "$P" -i v/images -o px -w none.safetensors
check "no weights" 2 "$P" -i v/images -o px
check "an unknown kind" 2 "$P" -i v/images -o px -w $W --save masks
check "no pictures" 1 "$P" -i logs -o px -w $W
check "dry run" 0 $train --dry-run --name dry
absent "dry run" logs/dry
check "dry run" 0 "$P" -i v/images -o dry --dry-run -w $W
absent "dry run" dry
report
