#!/bin/sh
# losses.sh - four losses from the same start, five seeds each: the paper's table of losses in small.
#
#     make losses                     everything, into weights/mini/losses: losses.csv, losses.svg, losses.html
#     MINI_SCALE=0.01 LOSSES_OUT=/tmp/losses weights/mini/losses.sh      a smoke test of the same steps
#
# The start is a small CLIP that knows a little: trained here from nothing with InfoNCE, as BiomedCLIP was, for
# LOSSES_START_STEPS (1500) steps, on pictures of LOSSES_SIZE (48) pixels in patches of 8; or the checkpoint LOSSES_START
# (with LOSSES_SIZE=96 for those of make.sh; its vocabulary: LOSSES_VOCAB, or vocab.txt beside it).
# Each loss then goes on from it for LOSSES_STEPS (300) steps with LOSSES_SEEDS (5) seeds.  A seed decides which fresh
# phantoms are seen and in which order, the same for all losses, so that losses are compared by seed.  Everything else
# is equal, too: half of the captions complete, temperature LOSSES_TEMPERATURE (0.07), learning rate LOSSES_LR (5e-4),
# hardness .15, batches of 50, and captions that are true of another picture are no negatives of it.
#
# Figures: retrieval by eval_phantoms on LOSSES_COUNT (600) phantoms of another seed, complete captions, batches of 50;
# mean over the seeds with the 95 % interval of Student's t, and the difference to InfoNCE of the same seed.
#
# It may be stopped at any moment and started again: what has its figures is not done again.  LOSSES_OUT: results, the
# work in LOSSES_OUT/work, which is deleted at the end unless MINI_KEEP=1.  MINI_SCALE (1): share of the steps and phantoms.
# LOSSES_SEED (7000): of phantoms, + 1 for the start, + 11, 12, ... for training, + 900 for the figures.
# LOSSES_JOBS (0: one per core): trainings at a time, of one thread each.  MINI_TOOLS (tools): the programs.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
out=${LOSSES_OUT:-$here/losses} scale=${MINI_SCALE:-1} tools=${MINI_TOOLS:-$top/tools}
seed=${LOSSES_SEED:-7000} seeds=${LOSSES_SEEDS:-5} jobs=${LOSSES_JOBS:-0}
side=${LOSSES_SIZE:-48} temperature=${LOSSES_TEMPERATURE:-0.07} lr=${LOSSES_LR:-5e-4}
start=${LOSSES_START:-} vocab=${LOSSES_VOCAB:-}
losses="infonce dcl hn-nce dhn-nce"

say() { echo "[$(date +%H:%M:%S)] $*"; }
# The share of a number that MINI_SCALE asks for, at least $2.
part() { awk -v n="$1" -v s="$scale" -v least="$2" 'BEGIN { n = int(n * s + .5); print n < least ? least : n }'; }
is_done() { [ -e "$1.done" ]; }
finished() { date +%s >"$1.tmp" && mv "$1.tmp" "$1.done"; }
# Runs a tool that stops with this script.
tool() {
    "$@" &
    child=$!
    trap 'kill $child 2>/dev/null || :; exit 1' TERM
    wait $child
    trap - TERM
}
absolute() { echo "$(cd "$(dirname "$1")" && pwd)/$(basename "$1")"; }

steps=$(part "${LOSSES_STEPS:-300}" 2) start_steps=$(part "${LOSSES_START_STEPS:-1500}" 2)
count=$(part "${LOSSES_COUNT:-600}" 20)
[ -z "$start" ] || start=$(absolute "$start")
[ -z "$start" ] || vocab=${vocab:-$(dirname "$start")/vocab.txt}
[ -z "$vocab" ] || vocab=$(absolute "$vocab")
[ "$jobs" -gt 0 ] || jobs=$(nproc)
mkdir -p "$out/work/figures"
out=$(cd "$out" && pwd)
tools=$(cd "$tools" && pwd)
cd "$out/work"
recipe="start ${start:-$start_steps steps}, $steps steps, $count phantoms of $side pixels, seed $seed, temperature $temperature, lr $lr"
[ -e recipe ] || echo "$recipe" >recipe
if [ "$(cat recipe)" != "$recipe" ]; then
    echo "losses.sh: $out/work holds runs with $(cat recipe); delete it to begin with others" >&2
    exit 2
fi
begin=$(date +%s)

# ---- Phantoms and the start

views() { # views SET SEED COUNT
    is_done "$1" && return
    say "phantoms: $1"
    tool "$tools/make_phantoms" -o "$1" --count "$3" --seed "$2" --size "$side" --views mixed --no-masks --captions 3 \
        --complete 0.5 --vocab vocab.txt --threads "$jobs" --quiet
    finished "$1"
}
train() { # train NAME EPOCHS STEPS THREADS OPTIONS...
    name=$1 epochs=$2 of=$3 with=$4
    shift 4
    tool "$tools/finetune_clip" --name "$name" --epochs "$epochs" --lr-scheduler cosine --warmup $(((of + 11) / 12)) \
        --batch-size 50 --micro-batch 50 --captions-per-image 2 --same-kind 0.4 --temperature "$temperature" \
        --wd 0.05 --grad-clip-norm 1 --save-every-steps 100 --keep 1 --log-every-n-steps 20 --resume latest \
        --vocab vocab.txt --threads "$with" --quiet "$@"
}
newest() { echo "logs/$1/checkpoints/$(cat "logs/$1/latest").safetensors"; }
measure() { # measure CHECKPOINT NAME
    "$tools/eval_phantoms" --clip "$1" --vocab vocab.txt --retrieval-only --size "$side" --seed $((seed + 900)) --count "$count" \
        --threads 1 --quiet --progress off >"figures/$2.tmp"
    mv "figures/$2.tmp" "figures/$2.csv"
}

if ! is_done start; then
    if [ -n "$start" ]; then
        cp "$start" start.safetensors
        cp "$vocab" vocab.txt
    else # three rounds of the pictures
        views start-set $((seed + 1)) $((start_steps * 50 / 3 + 50))
        say "the start: $start_steps steps of InfoNCE"
        cat >start.json <<END
{"vision": {"image": $side, "patch": 8, "dim": 96, "depth": 3, "heads": 3, "mlp_dim": 384},
 "text": {"positions": 64, "types": 1, "dim": 96, "depth": 1, "heads": 3, "mlp_dim": 384},
 "text_hidden": 96, "embed": 96, "context": 64, "logit_scale": 2.66}
END
        train start 3 "$start_steps" "$jobs" --train-data start-set/captions.csv --loss infonce --lr 1e-3 \
            --seed "$seed" --from-scratch start.json --init xavier --init-positions sincos
        cp "$(newest start)" start.safetensors
    fi
    measure start.safetensors start
    rm -rf start-set
    finished start
fi
s=1
while [ $s -le "$seeds" ]; do
    views set-$s $((seed + 10 + s)) $((steps * 50))
    s=$((s + 1))
done

# ---- Every loss with every seed, `jobs` at a time

one_run() { # one_run LOSS SEED
    [ -e "figures/$1-$2.csv" ] && return
    say "$1, seed $2"
    train "$1-$2" 1 "$steps" 1 --train-data "set-$2/captions.csv" --pretrained start.safetensors --loss "$1" \
        --lr "$lr" --seed "$2"
    measure "$(newest "$1-$2")" "$1-$2"
    rm -rf "logs/$1-$2"
}
worker() { # worker NUMBER: each jobs-th run
    run=0 s=1
    while [ $s -le "$seeds" ]; do
        for loss in $losses; do
            [ $((run % jobs)) -ne "$1" ] || one_run "$loss" $s
            run=$((run + 1))
        done
        s=$((s + 1))
    done
}
workers="" i=0
while [ $i -lt "$jobs" ]; do
    worker $i &
    workers="$workers $!"
    i=$((i + 1))
done
# shellcheck disable=SC2064
trap "kill $workers 2>/dev/null || :" EXIT
trap 'exit 130' HUP INT TERM
for w in $workers; do wait "$w"; done
trap - EXIT HUP INT TERM

# ---- Table and picture

# runs.csv: loss,seed,captions,direction,measure,value
{
    echo loss,seed,captions,direction,measure,value
    for f in start $(s=1; while [ $s -le "$seeds" ]; do for l in $losses; do echo "$l-$s"; done; s=$((s + 1)); done); do
        awk -F, -v f="$f" 'BEGIN { OFS = ","; l = f; s = 0; if (f != "start") { s = f; sub(/.*-/, "", s); sub(/-[0-9]*$/, "", l) } }
            $1 ~ /retrieval$/ { print l, s, $1 == "retrieval" ? "complete" : "plain", $2, $3, $5 }' "figures/$f.csv"
    done
} >runs.tmp
mv runs.tmp runs.csv

awk -F, -v losses="$losses" -v seeds="$seeds" -f "$here/losses.awk" runs.csv >table.tmp
sed -n 's/^csv //p' table.tmp >losses.csv
sed -n 's/^text //p' table.tmp >losses.txt
sed -n 's/^svg //p' table.tmp >losses.svg
{
    echo '<!DOCTYPE html>'
    echo '<html lang="en"><head><meta charset="utf-8"><title>Four losses from the same start</title>'
    echo '<style>body{font:15px/1.45 system-ui,sans-serif;margin:2em auto;max-width:1400px;padding:0 1em}'
    echo 'td,th{padding:.15em .9em .15em 0;text-align:left}svg{max-width:100%}</style></head><body>'
    echo '<h1>Four losses from the same start</h1>'
    echo '<p>Retrieval of drawn phantoms in batches of 50, complete captions.  Rings: seeds; dots: their mean and its'
    echo '95 % interval (Student); the last panel is the difference to InfoNCE of the same seed.</p>'
    cat losses.svg
    sed -n 's/^html //p' table.tmp
    echo "<p>$recipe; $seeds seeds; $("$tools/eval_phantoms" --version | head -n 1).</p></body></html>"
} >losses.html
cat losses.txt
for f in runs.csv losses.csv losses.svg losses.html; do cp "$f" "$out/.$f" && mv "$out/.$f" "$out/$f"; done
say "done in $(($(date +%s) - begin)) s: $out"
if [ "${MINI_KEEP:-0}" != 1 ]; then
    cd "$out" && rm -rf "$out/work"
fi
