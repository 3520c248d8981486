#!/bin/sh
# finetune_clip under mpirun: R ranks of b pairs against one process of R*b, failures and signals
# on one rank, resuming with other ranks.  Needs mpirun and `make MPI=1`; the default build is
# checked to do without.
. "$(dirname "$0")/tools_lib.sh"
F=$T/finetune_clip
case ${BUILD:-release} in
*-mpi) ;;
*)
    if ldd "$F" 2>/dev/null | grep -qi 'libmpi'; then bad "the default build needs MPI"; else good; fi
    "$T/make_untrained" -o m --seed 1 --size 48 -q
    printf 'filename,caption\nm/picture.png,a\nm/picture.png,b\n' >a.csv
    what="started by mpirun without MPI"
    check "$what" 2 env OMPI_COMM_WORLD_SIZE=2 "$F" --train-data a.csv --pretrained m/clip.safetensors
    says "make MPI=1"
    skip "MPI: this build does without (make MPI=1 test)"
    report
    ;;
esac
command -v mpirun >/dev/null || { skip "MPI: no mpirun"; report; }
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_hwloc_base_binding_policy=none
export OMPI_MCA_mpi_yield_when_idle=1 # ranks that wait leave the core to those that work
export OMPI_MCA_btl_vader_single_copy_mechanism=none # containers forbid it and then complain
mpirun -np 2 true >/dev/null 2>&1 || { skip "MPI: mpirun cannot start processes here"; report; }

mkdir img
for i in 1 2 3 4 5 6 7 8 9 10 11 12 13; do
    "$T/make_untrained" -o "p$i" --seed $i --size 48 -q
    cp "p$i/picture.png" "img/$i.png"
    [ $i -gt 1 ] && rm -r "p$i"
done
mv p1 m
{
    echo filename,caption,group,kind
    for i in 1 2 3 4 5 6 7 8 9 10 11 12 13; do
        echo "img/$i.png,\"picture $i, a mass\",$((i % 5)),$((i % 2))"
    done
} >a.csv
train="--train-data a.csv --val-data a.csv --pretrained m/clip.safetensors --lr 1e-3 --epochs 2
    --log-every-n-steps 1 --threads 1 --progress off"

# The numbers of column N of metrics.csv or of a key of log.jsonl agree to 1e-5.
near() { # WHAT A B
    if paste -d' ' "$2" "$3" | awk '
        { d = $1 - $2; if (d < 0) d = -d; s = $1 < 0 ? -$1 : $1; if (!(d <= 1e-5 * s)) bad = 1; n++ }
        END { exit bad || n < 2 }'; then good; else bad "$1: $(paste -d' ' "$2" "$3" | head -3)"; fi
}
losses() { sed -n 's/.*"loss":\([-0-9.e]*\).*/\1/p' "logs/$1/log.jsonl"; }
val_losses() { sed 1d "logs/$1/metrics.csv" | cut -d, -f5; }
# The weights agree to 1e-5 of their norm: inspect_weights diff says how they differ.
weights() { # WHAT A B
    "$T/inspect_weights" diff --tolerance 1e-5 "logs/$2/checkpoints/epoch_2.safetensors" \
        "logs/$3/checkpoints/epoch_2.safetensors" >.out 2>.err && good || bad "$1: weights differ"
}

# ---- R ranks of b pairs are one process of R*b
check "one process" 0 "$F" $train --batch-size 8 --name one
for ranks in 1 2 4; do
    check "$ranks ranks" 0 mpirun -np $ranks "$F" $train --batch-size $((8 / ranks)) --name "r$ranks"
    prints "logs/r$ranks: 2 epochs, 2 steps"
    losses one >a.txt
    losses "r$ranks" >b.txt
    near "$ranks ranks: losses" a.txt b.txt
    val_losses one >a.txt
    val_losses "r$ranks" >b.txt
    near "$ranks ranks: validation" a.txt b.txt
    weights "$ranks ranks" one "r$ranks"
done
check "again" 0 mpirun -np 2 "$F" $train --batch-size 4 --name again
same "2 ranks, twice: the same bits" logs/r2/checkpoints/epoch_2.safetensors logs/again/checkpoints/epoch_2.safetensors
check "captions, parts, crops: one" 0 "$F" $train --batch-size 6 --captions-per-image 2 --aug light --learn-temperature --name c1
check "captions, parts, crops: 3 ranks" 0 mpirun -np 3 "$F" $train --batch-size 2 --captions-per-image 2 --aug light \
    --learn-temperature --micro-batch 1 --name c3
losses c1 >a.txt
losses c3 >b.txt
near "captions, parts, crops: losses" a.txt b.txt
weights "captions, parts, crops" c1 c3

# ---- A checkpoint of one goes on with the other
check "half with 2 ranks" 0 mpirun -np 2 "$F" $train --batch-size 4 --epochs 1 --name half
check "the rest with one" 0 "$F" $train --batch-size 8 --name half --resume latest
weights "resumed" one half
check "another batch" 2 mpirun -np 2 "$F" $train --batch-size 3 --name half --resume latest
says "another --batch-size"

# ---- A failure on one rank stops all
cp img/3.png good.png
printf 'no picture' >img/3.png
check "a broken picture stops all" 1 timeout 60 mpirun -np 2 "$F" $train --batch-size 6 --name broken
says "img/3.png"
says "a picture cannot be read"
check "or is left out by all" 3 timeout 60 mpirun -np 2 "$F" $train --batch-size 6 --name left --on-error skip
check "the same of one process" 3 "$F" $train --batch-size 12 --name left1 --on-error skip
same "noted in the same way" logs/left/errors.jsonl logs/left1/errors.jsonl
losses left >a.txt
losses left1 >b.txt
near "left out: losses" a.txt b.txt
cp good.png img/3.png
check "a rank without memory" 5 timeout 60 mpirun -np 1 "$F" $train --batch-size 4 --name mem : \
    -np 1 "$F" $train --batch-size 4 --name mem --mem-limit 300K
says "rank 1"
check "another command" 2 timeout 60 mpirun -np 1 "$F" $train --batch-size 4 --name other : \
    -np 1 "$F" $train --batch-size 4 --name other --lr 2e-3
says "other data, settings or checkpoint"
check "NaN" 7 timeout 60 mpirun -np 2 "$F" $train --batch-size 4 --name nan --lr 10 --wd 10 --grad-clip-norm 0 \
    --lr-scheduler const --epochs 300 --temperature 0.0001 --quiet

# ---- SIGTERM on any rank: all save at the next step
mpirun -np 2 sh -c 'echo $$ >pid$OMPI_COMM_WORLD_RANK; exec "$@"' sh "$F" $train --batch-size 4 --name stopped \
    --epochs 100000 >.out 2>.err &
run=$!
tries=0
while [ ! -s logs/stopped/log.jsonl ] && [ $tries -lt 200 ]; do
    sleep 0.1
    tries=$((tries + 1))
done
kill -TERM "$(cat pid1)"
wait $run
code=$?
if [ $code -eq 143 ]; then good; else bad "SIGTERM on rank 1: exit $code"; fi
exists "SIGTERM" logs/stopped/latest
check "the checkpoint is good" 0 "$T/embed" --clip "logs/stopped/checkpoints/$(cat logs/stopped/latest).safetensors" -p x -o e.npy

# ---- SIGKILL of a rank ends all; resumed, the bits are those of a run that was not killed
long="$train --batch-size 4 --epochs 25 --save-every-steps 1 --resume latest --quiet"
check "never killed" 0 mpirun -np 2 "$F" $long --name whole
mpirun -np 2 sh -c 'echo $$ >kill$OMPI_COMM_WORLD_RANK; exec "$@"' sh "$F" $long --name killed >.out 2>.err &
run=$!
tries=0
while [ "$(cat logs/killed/log.jsonl 2>/dev/null | wc -l)" -lt 4 ] && [ $tries -lt 400 ]; do
    sleep 0.05
    tries=$((tries + 1))
done
kill -KILL "$(cat kill1)"
wait $run
code=$?
if [ $code -ne 0 ] && [ -e logs/killed/latest ]; then good; else bad "SIGKILL of rank 1: exit $code"; fi
check "resumed" 0 mpirun -np 2 "$F" $long --name killed
for f in epoch_25.safetensors epoch_25.state.safetensors; do
    same "killed and resumed" logs/whole/checkpoints/$f logs/killed/checkpoints/$f
done
report
