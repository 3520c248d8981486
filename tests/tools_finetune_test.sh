#!/bin/sh
# finetune_clip and eval_retrieval from the command line: training, resuming after kills, refusals.
# KILLS=50 tests/tools_finetune_test.sh kills more often.
. "$(dirname "$0")/tools_lib.sh"
F=$T/finetune_clip E=$T/eval_retrieval

mkdir img
for i in 1 2 3 4 5 6 7 8 9 10 11 12; do
    "$T/make_untrained" -o "p$i" --seed $i --size 48 -q
    cp "p$i/picture.png" "img/$i.png"
    [ $i -gt 1 ] && rm -r "p$i"
done
mv p1 m
rows() { # KIND: a line per picture
    for i in 1 2 3 4 5 6 7 8 9 10 11 12; do echo "img/$i.png,\"picture $i, a ""mass""\",$((i % 5)),$((i % 2))"; done
}
{ echo filename,caption,group,kind; rows; } >a.csv
cat >small.json <<'END'
{"vision": {"image": 32, "patch": 8, "dim": 32, "depth": 2, "heads": 2, "mlp_dim": 64},
 "text": {"positions": 32, "dim": 32, "depth": 2, "heads": 2, "mlp_dim": 64, "types": 1},
 "text_hidden": 32, "embed": 16, "context": 32}
END
scratch="--from-scratch small.json --vocab m/vocab.txt --init xavier --lr 1e-3 --lr-scheduler cosine
    --warmup 3 --wd 0.05 --temperature 0.1 --progress off"
train="$F --train-data a.csv --pretrained m/clip.safetensors --progress off --batch-size 4"

# ---- It learns, writes what it says, and reads it again
check "from scratch" 0 "$F" --train-data a.csv --val-data a.csv $scratch --name s --batch-size 6 \
    --epochs 60 --same-kind 0.5 --log-every-n-steps 1
prints "60 epochs, 120 steps, best epoch"
for f in params.json log.jsonl metrics.csv curves.svg latest best checkpoints/vocab.txt; do
    exists "from scratch" "logs/s/$f"
done
lines "a line per epoch" logs/s/metrics.csv 61
check "retrieval of what was trained" 0 "$E" --data a.csv --clip logs/s/checkpoints/epoch_60.safetensors \
    --batch-size 6 -o r.csv --progress off
prints "batches,image-to-text,1,"
top1=$(sed -n 's/^whole,image-to-text,1,\([0-9]*\).*/\1/p' r.csv)
if [ "${top1:-0}" -ge 60 ]; then good; else bad "it learns: whole-set top-1 $top1 %"; fi
check "as JSON, one thread" 0 "$E" --data a.csv --clip logs/s/checkpoints/epoch_60.safetensors --batch-size 6 -o r.json --threads 1 --quiet
has "as JSON" r.json '"interval95"'
check "again" 0 "$E" --data a.csv --clip logs/s/checkpoints/epoch_60.safetensors --batch-size 6 --threads 3
same "threads do not matter to figures" r.csv .out
check "all are rivals" 0 "$E" --data a.csv --clip m/clip.safetensors --no-groups --topk 1,2,3 --recall 12
prints "batches,text-to-image,3,"
prints "whole,image-to-text,12,100.00,0.00,100.00,100.00"
grep -q masked .out && bad "all are rivals: nothing is masked" || good
# Claims: each picture's own group is another one, but every caption is true of every picture.
{
    echo filename,caption,group,facts
    for i in 1 2 3 4 5 6 7 8 9 10 11 12; do echo "img/$i.png,picture $i,k:a/$i,k:a/1/2/3/4/5/6/7/8/9/10/11/12"; done
} >facts.csv
check "true of each other" 0 "$E" --data facts.csv --clip m/clip.safetensors --batch-size 6
prints "batches masked,image-to-text,1,100.00,"
prints "whole masked,text-to-image,1,100.00,"
grep -q "whole,image-to-text,1,100.00" .out && bad "groups alone tell them apart" || good
sed 's|/1/2/3/4/5/6/7/8/9/10/11/12$|/x|' facts.csv >none.csv
"$E" --data none.csv --clip m/clip.safetensors --batch-size 6 >none.out 2>&1
[ "$(sed -n 's/^batches masked,//p' none.out)" = "$(sed -n 's/^batches,//p' none.out)" ] && good ||
    bad "without facts in common nothing is masked"
check "masked in validation" 0 $train --val-data facts.csv --epochs 1 --name facts
awk -F, 'NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i }
    NR == 2 { exit !($at["i2t_top1_masked"] == 1 && $at["t2i_top1_masked"] == 1 && $at["i2t_top1"] < 1) }' \
    logs/facts/metrics.csv && good || bad "masked in validation: $(cat logs/facts/metrics.csv)"
check "no such rank" 2 "$E" --data a.csv --clip m/clip.safetensors --topk 0
check "no data" 2 "$E" --clip m/clip.safetensors
check "embed reads the checkpoint" 0 "$T/embed" --clip logs/s/checkpoints/epoch_60.safetensors -p x -o e.npy
kept=$(ls logs/s/checkpoints/epoch_*.state.safetensors | wc -l)
if [ "$kept" -ge 3 ] && [ "$kept" -le 4 ]; then good; else bad "keeps 3 and the best: $kept"; fi

# ---- The same bytes for any number of threads, and almost the same in parts
check "one thread" 0 $train --name t1 --epochs 2 --lr 1e-3 --threads 1
check "three threads" 0 $train --name t3 --epochs 2 --lr 1e-3 --threads 3
same "threads do not matter" logs/t1/checkpoints/epoch_2.safetensors logs/t3/checkpoints/epoch_2.safetensors
check "blocks recomputed" 0 $train --name t2 --epochs 2 --lr 1e-3 --grad-checkpointing
same "recomputing does not matter" logs/t1/checkpoints/epoch_2.safetensors logs/t2/checkpoints/epoch_2.safetensors
check "in parts" 0 $train --name t4 --epochs 2 --lr 1e-3 --micro-batch 1
check "other seed" 0 $train --name t5 --epochs 2 --lr 1e-3 --seed 1
differ "the seed matters" logs/t1/checkpoints/epoch_2.safetensors logs/t5/checkpoints/epoch_2.safetensors
check "accumulated" 0 $train --name t6 --epochs 2 --lr 1e-3 --batch-size 2 --accum-freq 2
loss() { sed -n '$s/^[^,]*,[^,]*,[^,]*,\([0-9.]\{7\}\).*/\1/p' "logs/$1/metrics.csv"; }
if [ "$(loss t1)" = "$(loss t4)" ] && [ "$(loss t1)" = "$(loss t6)" ]; then good; else
    bad "parts: losses $(loss t1) $(loss t4) $(loss t6)"; fi

# ---- Every loss; what is kept; early stop; resuming from a file
last=t1
for loss in hn-nce dcl infonce dhn-nce-official; do
    check "$loss" 0 $train --name "l-$loss" --epochs 1 --lr 1e-3 --loss $loss
    differ "$loss is another loss" "logs/l-$loss/checkpoints/epoch_1.safetensors" "logs/$last/checkpoints/epoch_1.safetensors"
    last=l-$loss
done
check "four epochs" 0 $train --name k0 --epochs 4 --lr 1e-3 --keep 0
check "from a file" 0 $train --name k1 --epochs 4 --lr 1e-3 --keep 1 --save-frequency 3 \
    --resume logs/k0/checkpoints/epoch_2.safetensors
same "from a file" logs/k0/checkpoints/epoch_4.safetensors logs/k1/checkpoints/epoch_4.safetensors
absent "kept" logs/k1/checkpoints/epoch_2.safetensors
exists "kept" logs/k1/checkpoints/epoch_3.state.safetensors
check "early stop" 0 $train --name e --val-data a.csv --epochs 50 --lr 0 --patience 2
prints "3 epochs, 9 steps, best epoch 1"
exists "the best is kept" logs/e/checkpoints/epoch_1.safetensors

# ---- Killed at any moment and resumed: the same bytes
long="--train-data a.csv --val-data a.csv $scratch --batch-size 4 --epochs 12 --captions-per-image 2
    --micro-batch 3 --save-every-steps 1 --aug light --learn-temperature --resume latest --quiet"
killed "${KILLS:-12}" 350 epoch_12 "$F" $long

# ---- SIGTERM saves
terminated "$F" $long --epochs 4000

# ---- Settings and refusals
check "an earlier run is not overwritten" 2 $train --name t1
says "--resume latest"
check "--force begins anew" 0 $train --name t1 --force --epochs 1
absent "--force begins anew" logs/t1/checkpoints/epoch_2.safetensors
check "changed settings" 2 $train --name t1 --resume latest --lr 2e-3
says "another --lr"
{ cat a.csv; echo img/1.png,new,1,1; } >b.csv
check "changed data" 2 "$F" --train-data b.csv --pretrained m/clip.safetensors --batch-size 4 --name t1 --resume latest
says "other data"
check "forced to other data" 2 "$F" --train-data b.csv --pretrained m/clip.safetensors --batch-size 4 --name t1 \
    --resume latest --force --lr 1e-3 --batch-size 2 --progress off
says "epochs have another number of steps now"
{ cat b.csv; echo img/2.png,newer,1,1; echo img/3.png,newer,1,1; echo img/4.png,newer,1,1; } >c.csv
check "tables in turn" 0 $train --train-data c.csv --epochs 3 --lr 1e-3 --name turn
prints "3 epochs, 10 steps"
echo ../../etc/passwd >logs/t1/latest
check "latest leads elsewhere" 4 $train --name t1 --resume latest
echo epoch_1 >logs/t1/latest
head -c 3000 logs/t1/checkpoints/epoch_1.state.safetensors >cut
cp cut logs/t1/checkpoints/epoch_1.state.safetensors
check "half a state" 4 $train --name t1 --resume latest
cp logs/t5/checkpoints/epoch_2.safetensors logs/t1/checkpoints/epoch_1.state.safetensors
check "weights as state" 1 $train --name t1 --resume latest
says "not the state"
check "state of another model" 4 $train --name t7 --resume logs/s/checkpoints/epoch_60.state.safetensors
check "no model" 2 "$F" --train-data a.csv
check "a model of another kind" 4 "$F" --train-data a.csv --pretrained m/sam.safetensors --vocab m/vocab.txt --name x
says "not a BiomedCLIP checkpoint"
check "a disk that fills up" 6 sh -c "trap '' XFSZ; ulimit -f 1500; exec $train --name disk"
absent "a disk that fills up" logs/disk/latest
check "a batch of 1" 2 $train --batch-size 1 --name x
says "at least 2"
check "a missing column" 1 $train --csv-caption-key Caption --name x
says "no column 'Caption'; there are: filename, caption, group, kind"
check "an unknown prefix" 2 $train --freeze visul --name x
check "NaN" 7 $train --lr 10 --wd 10 --grad-clip-norm 0 --lr-scheduler const --epochs 300 --temperature 0.0001 --name nan --quiet
exists "NaN keeps the last checkpoint" logs/nan/latest
check "the kept checkpoint is good" 0 "$T/embed" --clip "logs/nan/checkpoints/$(cat logs/nan/latest).safetensors" -p x -o e.npy
check "too little memory" 5 $train --mem-limit 100K --name x
check "a full disk" 6 $train --logs /dev/full --name x
check "locks" 0 $train --lock-image --lock-text --lock-image-unlocked-groups 1 --freeze text.proj --epochs 1 --name lock --lr 1e-2
check "other patches" 0 "$F" --train-data a.csv --val-data a.csv --pretrained logs/s/checkpoints/epoch_60.safetensors \
    --name patch --batch-size 6 --epochs 1 --lr 1e-4 --temperature 0.1 --force-image-size 64 --force-patch-size 16 --progress off
top1=$(awk -F, 'NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i } NR == 2 { print $at["i2t_top1"] }' logs/patch/metrics.csv)
case $top1 in 0.[5-9]* | 1) good ;; *) bad "resized patches know what small ones learnt: top-1 $top1" ;; esac
check "patches that do not fit" 2 $train --force-patch-size 7 --name x
says "--force-image-size 96 with patches of 7"
check "dry run" 0 $train --dry-run --name dry
absent "dry run" logs/dry

# ---- Hostile tables
{
    printf '\357\273\277filename\tcaption\r\n'
    printf 'img/1.png\t"two\r\nlines, ""quoted"""\r\nimg/2.png\tnan\r\nimg/3.png\t\r\nnone.png\tx\r\n'
    printf '../img/4.png\tclimbs\r\nimg/4.png\tfour\r\nbroken.png\tbroken\r\nimg/5.png\t'
    head -c 1000000 /dev/zero | tr '\0' w
    printf '\r\nimg/6.png\tsix\r\n'
} >h.tsv
printf 'no picture' >broken.png
hostile="$F --train-data h.tsv --data-root . --pretrained m/clip.safetensors --batch-size 5 --epochs 2"
check "unusable rows stop" 1 $hostile --name h
says "4 of 9 rows cannot be used"
says "line 4: img/2.png: no caption"
check "unusable rows are left out" 3 $hostile --name h --on-error skip
says "longer than 65536 bytes"
lines "errors.jsonl lists each once" logs/h/errors.jsonl 5
check "validation, too" 3 $hostile --val-data h.tsv --name v --on-error skip
lines "and once in validation" logs/v/errors.jsonl 10
check "evaluation leaves them out, too" 3 "$E" --data h.tsv --data-root . --clip m/clip.safetensors --on-error skip
check "evaluation stops" 1 "$E" --data h.tsv --data-root . --clip m/clip.safetensors
printf 'filename,caption\nbroken.png,a\nbroken2.png,b\nbroken.png,c\n' >all.csv
cp broken.png broken2.png
check "no picture can be read" 1 "$F" --train-data all.csv --pretrained m/clip.safetensors --on-error skip --name none
says "no picture could be read"
printf 'filename,caption\nimg/1.png,"a\nimg/2.png,b\n' >open.csv
check "an open quote" 1 "$F" --train-data open.csv --pretrained m/clip.safetensors --name x
says "line 2"
check "a wrong description" 2 "$F" --train-data a.csv --from-scratch r.csv --vocab m/vocab.txt --name x
echo '{"vision": {"dmi": 3}}' >wrong.json
check "an unknown key" 2 "$F" --train-data a.csv --from-scratch wrong.json --vocab m/vocab.txt --name x
says "not known"
report
