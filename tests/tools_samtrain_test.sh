#!/bin/sh
# finetune_sam from the command line: learning, frozen weights, resuming after kills, refusals.
# KILLS=50 tests/tools_samtrain_test.sh kills more often.
. "$(dirname "$0")/tools_lib.sh"
F=$T/finetune_sam

mkdir img gt
for i in 1 2 3 4 5 6; do
    "$T/make_untrained" -o "p$i" --seed $i --size 64 -q
    cp "p$i/picture.png" "img/$i.png"
    cp "p$i/truth.png" "gt/$i.png"
    [ $i -gt 1 ] && rm -r "p$i"
done
mv p1 m
mkdir two twogt other othergt && cp img/1.png img/2.png two && cp gt/1.png gt/2.png twogt
cp img/3.png other/1.png && cp gt/3.png othergt/1.png
cat >small.json <<'END'
{"image": 64, "vit": {"patch": 8, "dim": 32, "depth": 2, "heads": 2, "mlp_dim": 64, "window": 4,
                      "global_blocks": [1]},
 "decoder": {"dim": 32, "depth": 1, "heads": 2, "mlp_dim": 64, "cross_dim": 16, "mask_tokens": 2,
             "iou_depth": 2, "iou_dim": 32, "mask_channels": 4}}
END
scratch="--from-scratch small.json --train all --init xavier --lr 3e-3 --progress off"
train="$F --images img --masks gt --sam m/sam.safetensors --progress off"
number() { sed -n "s/.*\"$2\":\([0-9.]*\).*/\1/p" "logs/$1/log.jsonl"; }
atleast() { if awk "BEGIN{exit !(${2:-0} >= $3)}"; then good; else bad "$1: $2, expected at least $3"; fi; }

# ---- It learns two pictures by heart, and writes what it says
check "from scratch" 0 "$F" -i two --masks twogt --val-images two --val-masks twogt $scratch \
    --epochs 120 --val-frequency 1 --save-frequency 40 --name s --lr-scheduler cosine --warmup 5 \
    --focal-weight 5 --iou-weight 0.2 --grad-clip-norm 1 --box-jitter 5%
prints "120 epochs, 120 steps, best epoch"
for f in params.json log.jsonl metrics.csv curves.svg latest best; do exists "from scratch" logs/s/$f; done
lines "a line per epoch" logs/s/metrics.csv 121
atleast "it learns" "$(number s dsc | tail -n 1)" 0.85
atleast "it learns" "$(number s dsc | tail -n 1)" "$(number s dsc | head -n 1)"
check "zeroshot_seg reads the checkpoint" 0 "$T/zeroshot_seg" -i img/1.png -o out --progress off \
    --sam logs/s/checkpoints/epoch_120.safetensors --box 20,20,40,40
exists "zeroshot_seg reads the checkpoint" out/masks/1.png

# ---- The decoder alone: the encoder's bytes stay
check "decoder" 0 $train --epochs 2 --name d --threads 1
check "diff" 8 "$T/inspect_weights" diff m/sam.safetensors logs/d/checkpoints/epoch_2.safetensors
cp "$tmp/.out" diff.txt
hasnot "only the decoder changes" diff.txt image_encoder
hasnot "only the decoder changes" diff.txt prompt_encoder
has "the decoder changes" diff.txt mask_decoder
check "three threads, no cache" 0 $train --epochs 2 --name d3 --threads 3 --cache 0
same "neither threads nor cache matter" logs/d/checkpoints/epoch_2.safetensors logs/d3/checkpoints/epoch_2.safetensors
check "blocks kept" 0 $train --epochs 2 --train all --name d6
check "blocks recomputed" 0 $train --epochs 2 --train all --name d7 --grad-checkpointing
same "recomputing does not matter" logs/d6/checkpoints/epoch_2.safetensors logs/d7/checkpoints/epoch_2.safetensors
check "accumulated" 0 $train --epochs 2 --name d4 --batch-size 1 --accum-freq 2
same "accumulated" logs/d/checkpoints/epoch_2.safetensors logs/d4/checkpoints/epoch_2.safetensors
check "other seed" 0 $train --epochs 2 --name d5 --seed 1
differ "the seed matters" logs/d/checkpoints/epoch_2.safetensors logs/d5/checkpoints/epoch_2.safetensors

# ---- Killed at any moment and resumed: the same bytes
long="-i img --masks gt --masks twogt --prompts auto --val-images two --val-masks twogt $scratch
    --epochs 10 --save-every-steps 1 --resume latest --quiet --samples component --freeze prompt_encoder.not"
killed "${KILLS:-8}" 500 epoch_10 "$F" $long

# ---- SIGTERM saves
terminated "$F" $long --epochs 4000

# ---- NaN
check "NaN" 7 "$F" -i two --masks twogt $scratch --lr 10 --wd 10 --epochs 400 --name nan --quiet
exists "NaN keeps the last checkpoint" logs/nan/latest
check "the kept checkpoint is good" 0 "$T/zeroshot_seg" -i img/1.png -o out2 --progress off \
    --sam "logs/nan/checkpoints/$(cat logs/nan/latest).safetensors" --box 20,20,40,40

# ---- Broken, missing, empty, of another size
mkdir bad badgt && cp img/*.png bad && cp gt/*.png badgt
head -c 200 img/1.png >bad/1.png
rm badgt/2.png
cp m/picture.png bad/7.png && "$T/make_untrained" -o q --size 48 -q && cp q/truth.png badgt/7.png
printf 'no picture' >badgt/3.png
check "unusable pictures are left out" 3 "$F" -i bad --masks badgt --sam m/sam.safetensors --epochs 1 --name bad
lines "errors.jsonl lists them" logs/bad/errors.jsonl 4
has "missing" logs/bad/errors.jsonl "no mask of the name 2"
has "size" logs/bad/errors.jsonl "64 x 48 pixels, the picture 85 x 64"
check "or stop" 1 "$F" -i bad --masks badgt --sam m/sam.safetensors --on-error stop --name bad2
says "4 of 7 pictures cannot be used"
mkdir none
check "no masks" 1 "$F" -i img --masks none --sam m/sam.safetensors --name x
says "none of 6 pictures has a usable mask"
check "no folder of masks" 1 "$F" -i img --masks nowhere --sam m/sam.safetensors --name x
says "no such folder"
check "too small" 1 $train --min-area 100000 --name x
says "its mask is empty or smaller than --min-area"

# ---- Several folders of pictures, each with its own masks
check "two folders" 0 "$F" -i two --masks twogt -i other --masks othergt --sam m/sam.safetensors --epochs 1 \
    --name folders --progress off
says "3 pictures with 3 masks"
check "two folders, two of masks each" 0 "$F" -i two --masks twogt --masks twogt -i other --masks othergt \
    --masks othergt --sam m/sam.safetensors --epochs 1 --name folders2 --progress off
says "3 pictures with 6 masks"
check "folders that are not in step" 2 "$F" -i two --masks twogt -i other --masks othergt --masks gt \
    --sam m/sam.safetensors --name x
says "2 folders of pictures and 3 of masks"

# ---- Settings and refusals
check "an earlier run is not overwritten" 2 $train --name d
check "changed settings" 2 $train --name d --resume latest --box-jitter 10
says "another --box-jitter"
check "changed data" 2 "$F" -i two --masks twogt --sam m/sam.safetensors --name d --resume latest
says "other data"
check "no model" 2 "$F" -i img --masks gt
check "a decoder without an encoder" 2 "$F" -i img --masks gt --from-scratch small.json --name x
check "a jitter" 2 $train --box-jitter 3px --name x
check "no loss" 2 $train --dice-weight 0 --bce-weight 0 --name x
check "half a validation" 2 $train --val-images img --name x
check "an unknown prefix" 2 $train --freeze nothing. --name x
echo '{"vit": {"dmi": 3}}' >wrong.json
check "an unknown key" 2 "$F" -i img --masks gt --from-scratch wrong.json --train all --name x
says "not known"
echo '{"vit": {"global_blocks": [12]}}' >wrong.json
check "a block too many" 2 "$F" -i img --masks gt --from-scratch wrong.json --train all --name x
check "another model" 1 "$F" -i img --masks gt --sam m/clip.safetensors --name x
check "too little memory" 5 $train --mem-limit 100K --name x2
check "a full disk" 6 $train --logs /dev/full --name x
check "dry run" 0 $train --dry-run --name dry
absent "dry run" logs/dry
report
