#!/bin/sh
# make.sh - trains the small default models from seeds with the tools of this project alone.
#
#     make weights                    everything, into weights/mini
#     MINI_SCALE=0.001 MINI_OUT=/tmp/mini weights/mini/make.sh      a smoke test of the same steps
#
# It may be stopped at any moment and started again: a step whose result is whole is skipped, a training
# goes on from its last checkpoint.  MINI_OUT (weights/mini): results, with the work in MINI_OUT/work,
# which is deleted at the end unless MINI_KEEP=1.  MINI_SCALE (1): share of the samples.  MINI_SEED (2000).
# MINI_THREADS (0: one per core).  MINI_TOOLS (tools): the programs.
#
# CLIP's first stages and SAM learn at the same time, on one half of the cores each: products of this size gain
# less from a second thread than from a second training.
#
# Pictures of the training have the seeds MINI_SEED + 1, 2, ...; saliency and postprocessing are chosen on
# MINI_SEED + 500, which also gives the curves of validation; the model card is measured on
# MINI_SEED + 900 and + 901, which nothing was fitted to.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
out=${MINI_OUT:-$here} scale=${MINI_SCALE:-1} seed=${MINI_SEED:-2000} tools=${MINI_TOOLS:-$top/tools}
if [ -e "$out/README.md" ] && [ -e "$out/clip.safetensors" ] && [ ! -d "$out/work" ]; then
    echo "make.sh: $out has its models; delete its README.md to train anew"
    exit
fi
mkdir -p "$out/work"
out=$(cd "$out" && pwd)
tools=$(cd "$tools" && pwd)
cd "$out/work"
threads=${MINI_THREADS:-0}
[ "$threads" -gt 0 ] || threads=$(nproc)
half=$(((threads + 1) / 2))
common="--threads $threads"
structures="mass cyst tumour ventricles heart lungs nodule"

say() { echo "[$(date +%H:%M:%S)] $*"; }
# The share of a number that MINI_SCALE asks for, at least $2.
part() { awk -v n="$1" -v s="$scale" -v least="$2" 'BEGIN { n = int(n * s + .5); print n < least ? least : n }'; }
is_done() { [ -e "$1.done" ]; }
finished() { echo "$(date +%s)" >"$1.tmp" && mv "$1.tmp" "$1.done"; }
# A tool that may leave out some inputs (exit code 3).
may_skip() { "$@" || { code=$?; [ $code -eq 3 ] || exit $code; }; }
newest() { echo "logs/$1/checkpoints/$(cat "logs/$1/latest").safetensors"; }

[ -e recipe ] || echo "scale $scale seed $seed" >recipe
if [ "$(cat recipe)" != "scale $scale seed $seed" ]; then
    echo "make.sh: $out/work holds a training with $(cat recipe); delete it to begin with others" >&2
    exit 2
fi
begin=$(date +%s)
# A smoke test has fewer rounds, too.
rounds() { if awk -v s="$scale" 'BEGIN { exit !(s < .02) }'; then echo 2; else echo "$1"; fi; }

# ---- Material: sets of views, one an epoch; a set that has been used up is deleted with its stage.

views() { # views SET SEED COUNT OPTIONS...
    set_name=$1 set_seed=$2 set_count=$3
    shift 3
    is_done "$set_name" && return
    say "phantoms: $set_name"
    "$tools/make_phantoms" -o "$set_name" --count "$set_count" --seed "$set_seed" --size 96 --views mixed "$@" \
        --no-masks --captions 3 --vocab vocab.txt --threads $clip_threads
    finished "$set_name"
}

# ---- CLIP: first where things are, from one structure at a time; then all of it with coarse patches,
# which are much cheaper, and with fine ones; last, to tell a structure in the light from others in the dark,
# without which what all pictures of a kind show (the lungs) is a word for the kind

# Tens of thousands of files take a while: nobody waits for it.
drop() { rm -rf "$1" "$1"[0-9] "$1"[0-9][0-9] & }

clip_stage() { # clip_stage NAME FIRST-SEED SETS SET-SIZE VIEWS EPOCHS LR OPTIONS...
    name=$1 first=$2 sets=$3 size=$4 kind_of_views=$5 epochs=$6 lr=$7
    shift 7
    is_done "$name" && { drop "$name"-set; return; }
    i=0 data=
    while [ $i -lt "$sets" ]; do
        # shellcheck disable=SC2086
        views "$name-set$i" $((first + i)) "$size" $kind_of_views
        data="$data --train-data $name-set$i/captions.csv"
        i=$((i + 1))
    done
    say "CLIP: $name, $epochs epochs of $size pictures"
    # shellcheck disable=SC2086
    "$tools/finetune_clip" $data --name "$name" "$@" --epochs "$epochs" --lr "$lr" --lr-scheduler cosine \
        --warmup $(((epochs * size / 50 + 24) / 25)) --batch-size 50 --micro-batch 50 \
        --captions-per-image 2 --loss dhn-nce --wd 0.05 \
        --grad-clip-norm 1 --seed "$seed" --save-every-steps 200 --keep 1 --log-every-n-steps 50 \
        --val-data val/captions.csv --resume latest --threads $clip_threads
    finished "$name"
    drop "$name"-set
}

if ! is_done val; then
    say "phantoms for validation"
    # shellcheck disable=SC2086
    "$tools/make_phantoms" -o val --count "$(part 500 60)" --seed $((seed + 500)) --size 96 $common
    finished val
fi
[ -e vocab.txt ] || "$tools/make_phantoms" --vocab vocab.txt --count 1 --montage vocab.png -q

# ---- SAM: first boxes that fit, then boxes as maps give them, which miss or add a third of a side

sam_stage() { # sam_stage NAME SEED COUNT JITTER EPOCHS LR OPTIONS...
    name=$1 first=$2 count=$3 jitter=$4 epochs=$5 lr=$6
    shift 6
    is_done "$name" && return
    if ! is_done "$name-set"; then
        say "phantoms for SAM: $name"
        "$tools/make_phantoms" -o "$name-set" --count "$count" --seed "$first" --size 96 --no-healthy --views crops \
            --threads $half
        rm -rf "$name-set/masks" "$name-set/masks_other"
        finished "$name-set"
    fi
    masks= vmasks=
    for s in $structures; do
        [ ! -d "$name-set/structures/$s" ] || masks="$masks --masks $name-set/structures/$s"
        [ ! -d "val/structures/$s" ] || vmasks="$vmasks --val-masks val/structures/$s"
    done
    say "SAM: $name, $epochs epochs of $count phantoms"
    # shellcheck disable=SC2086
    "$tools/finetune_sam" --images "$name-set/images" $masks --val-images val/images $vmasks --name "$name" "$@" \
        --train all --labels binary --prompts auto --min-area 12 --box-jitter "$jitter" --focal-weight 5 \
        --iou-weight 0.2 --batch-size 24 --epochs "$epochs" --lr "$lr" --wd 0.01 --warmup "$(part 100 2)" \
        --lr-scheduler cosine --grad-clip-norm 1 --seed "$seed" --save-every-steps 200 --keep 1 \
        --log-every-n-steps 50 --resume latest --quiet --threads $half &
    tool=$!
    trap 'kill $tool 2>/dev/null || :; exit 1' TERM
    may_skip wait $tool
    finished "$name"
    drop "$name-set"
}
sam_stages() {
    sam_stage sam $((seed + 41)) "$(part 10000 60)" 8% "$(rounds 5)" 1.2e-3 --from-scratch "$here/sam.json" --init xavier
    sam_stage wide $((seed + 42)) "$(part 9000 60)" 35% "$(rounds 2)" 7e-4 --sam "$(newest sam)"
}

# ---- Both at once; a failure of either one is ours

sam_stages &
sam_process=$!
trap 'kill $sam_process 2>/dev/null || :' EXIT
trap 'exit 130' HUP INT TERM
size=$(part 12000 100) clip_threads=$half
clip_stage place $((seed + 11)) "$(rounds 2)" "$size" "--spotlights 1 --crops 0 --no-healthy --complete 1" \
    "$(rounds 8)" 1e-3 --temperature-dhnnce 0.1 \
    --from-scratch "$here/clip.json" --vocab vocab.txt --init xavier --init-positions sincos
clip_stage coarse $((seed + 1)) "$(rounds 4)" "$size" "--complete 0.5" "$(rounds 12)" 7e-4 --same-kind 0.4 \
    --temperature-dhnnce 0.07 --pretrained "$(newest place)" --vocab vocab.txt --force-patch-size 12
wait $sam_process
clip_threads=$threads
clip_stage fine $((seed + 21)) "$(rounds 9)" "$size" "--complete 0.5" "$(rounds 36)" 7e-4 --same-kind 0.4 \
    --temperature-dhnnce 0.07 --pretrained "$(newest coarse)" --vocab vocab.txt --force-patch-size 8
clip_stage choose $((seed + 51)) "$(rounds 3)" "$size" "--complete 0.5 --spotlights 0.6 --unlit absent" \
    "$(rounds 6)" 4e-4 --same-kind 0.4 --temperature-dhnnce 0.07 --pretrained "$(newest fine)" --vocab vocab.txt
trap - EXIT HUP INT TERM

# ---- Storage: bf16 if it changes no figure by more than half a point

measure() { # measure FOLDER SEED COUNT OPTIONS...
    to=$1 from=$2 count=$3
    shift 3
    is_done "$to" && return
    say "measuring: $to"
    # shellcheck disable=SC2086
    "$tools/eval_phantoms" -o "$to" --seed "$from" --count "$count" "$@" $common >"$to.csv"
    finished "$to"
}
figure() { awk -F, -v m="$2" -v s="$3" -v k="$4" '$1 == m && $2 == s && $3 == k { print $5 }' "$1/scores.csv"; }

tuning=$((seed + 500)) few=$(part 60 2)
pair="--clip clip.safetensors --vocab vocab.txt --sam sam.safetensors"
if ! is_done stored; then
    for type in f32 bf16; do
        "$tools/inspect_weights" convert "$(newest choose)" -o clip-$type.safetensors --dtype $type -q --force
        "$tools/inspect_weights" convert "$(newest wide)" -o sam-$type.safetensors --dtype $type -q --force
        measure stored-$type "$tuning" "$few" --clip clip-$type.safetensors --vocab vocab.txt \
            --sam sam-$type.safetensors --cam "scan*relevance" --postprocess otsu --cam-scale 20 --pictures 0
    done
    type=bf16
    for k in "retrieval,picture to text,top1" "retrieval,text to picture,top1" \
        "scan*relevance,all,mask_dsc" "true box,all,mask_dsc"; do
        IFS=, read -r m s n <<END
$k
END
        a=$(figure stored-f32 "$m" "$s" "$n") b=$(figure stored-bf16 "$m" "$s" "$n")
        awk -v a="$a" -v b="$b" 'BEGIN { exit !(b < a - .005) }' && type=f32
    done
    say "stored as $type"
    echo $type >dtype
    cp clip-$type.safetensors clip.safetensors
    cp sam-$type.safetensors sam.safetensors
    finished stored
fi

# ---- Method: the best map, postprocessing and margin of the boxes on the tuning phantoms

# score FOLDER: the best method there that is not given the true box, as "DSC name"
score() { awk -F, '$2 == "all" && $3 == "mask_dsc" && $1 !~ /box/ { print $5, $1 }' "$1/scores.csv" | sort -rg | head -n 1; }
above() { awk -v a="${1%% *}" -v b="${2%% *}" 'BEGIN { exit !(a > b) }'; }
if ! is_done method; then
    # shellcheck disable=SC2086
    measure tune-otsu "$tuning" "$few" $pair --ablation --cam "scan*relevance" --postprocess otsu --cam-scale 20 \
        --pad-box 20 --pictures 0
    best=$(score tune-otsu) method=otsu
    # shellcheck disable=SC2086
    measure tune-crf "$tuning" "$few" $pair --cam "${best#* }" --postprocess crf --cam-scale 20 --pad-box 20 --pictures 0
    ! above "$(score tune-crf)" "$best" || method=crf
    cam=${best#* } best=-1
    for pad in 0 15 30; do
        # shellcheck disable=SC2086
        measure "tune-pad$pad" "$tuning" "$few" $pair --cam "$cam" --postprocess "$method" --cam-scale 20 \
            --pad-box $pad --pictures 0
        line=$(score "tune-pad$pad")
        above "$line" "$best" || continue
        best=$line
        printf '{"cam": "%s", "cam-scale": 20, "postprocess": "%s", "pad-box": %s}\n' "$cam" "$method" $pad >zeroshot.json
    done
    finished method
fi

# ---- Figures on phantoms that nothing was fitted to, and the model card

# shellcheck disable=SC2086
measure held-out $((seed + 900)) "$(part 300 3)" $pair --config zeroshot.json
# shellcheck disable=SC2086
measure maps $((seed + 901)) "$(part 100 2)" $pair --config zeroshot.json --ablation --pictures 0
cam=$(sed 's/.*"cam": "\([^"]*\)".*/\1/' zeroshot.json)
steps() { awk -F'"step":' '/"step"/ { split($2, a, ","); n = a[1] } END { print n + 0 }' "logs/$1/log.jsonl"; }
row() { # row METHOD STRUCTURE: figures of the method on one structure
    printf '| %s |' "$2"
    for k in pointing coarse_dsc mask_dsc cross_dsc asked_above; do
        awk -F, -v m="$1" -v s="$2" -v k=$k '$1 == m && $2 == s && $3 == k {
            printf k == "mask_dsc" ? " %.2f [%.2f, %.2f], median %.2f |" : " %.2f |", $5, $6, $7, $8; f = 1 }
            END { if (!f) printf " |" }' held-out/scores.csv
    done
    for m in "true box" "box 10 % off"; do
        awk -F, -v m="$m" -v s="$2" '$1 == m && $2 == s && $3 == "mask_dsc" { printf " %.3f |", $5; f = 1 }
            END { if (!f) printf " |" }' held-out/scores.csv
    done
    echo
}
retrieval_row() { # retrieval_row METHOD CAPTIONS DIRECTION
    awk -F, -v m="$1" -v c="$2" -v d="$3" '$1 == m && $2 == d { v[$3] = sprintf("%.2f", $5); i[$3] = sprintf(" [%.2f, %.2f]", $6, $7) }
        END { printf "| %s | %s |", c, d
            for (k = 1; k <= 2; k++) { t = "top" k; printf " %s%s | %s | %s |", v[t], i[t], v[t " ceiling"], v[t " masked"] }
            print "" }' held-out/scores.csv
}
word_row() { # word_row STRUCTURE
    awk -F, -v s="$1" '$1 == "words" && $2 == s { v[$3] = sprintf("%.2f", $5); i[$3] = sprintf(" [%.2f, %.2f]", $6, $7) }
        END { printf "| %s | %s%s | %s%s | %s | %s%s |\n", s, v["present_auc"], i["present_auc"], v["place_top1"],
            i["place_top1"], v["place_most_frequent"], v["size_top1"], i["size_top1"] }' held-out/scores.csv
}
card() {
    sed '/^<!-- figures -->/,$d' "$here/card.md"
    echo "Seed $seed, scale $scale; version $("$tools/zeroshot_seg" --version | head -n 1), $(cat dtype) storage."
    echo "CLIP: $(steps place) steps with patches of 16 pixels, $(steps coarse) of 12, $(steps fine) and"
    echo "$(steps choose) of 8, 50 pictures and 100 captions each.  SAM: $(steps sam) and $(steps wide) steps of 24 masks.  $(wc -l <vocab.txt) word pieces."
    echo "$(wc -c <clip.safetensors) and $(wc -c <sam.safetensors) bytes; SHA-256"
    sha256sum clip.safetensors sam.safetensors vocab.txt | sed 's/^/    /'
    echo
    echo "## Figures"
    echo
    echo "On $(part 300 3) phantoms of seed $((seed + 900)), to which nothing was fitted; brackets are 95 % bootstrap"
    echo "intervals.  The settings, \`$(cat zeroshot.json)\`, were chosen on other phantoms."
    echo
    echo "Retrieval in batches of 50 (chance .02).  Complete captions name every structure with its place and size,"
    echo "plain ones say where in 60 % and how large in 50 % of phrases.  Several pictures may share all that is said:"
    echo "the ceiling is what a ranker that knows all facts reaches in the same batches; masked: a caption that is true"
    echo "of a picture is no wrong answer."
    echo
    echo "| captions | direction | top-1 | ceiling | masked | top-2 | ceiling | masked |"
    echo "|---|---|---|---|---|---|---|---|"
    for d in "picture to text" "text to picture"; do
        retrieval_row retrieval complete "$d"
        retrieval_row "plain retrieval" plain "$d"
    done
    echo
    echo "Which words it has learnt, from the similarity of a picture and a sentence about one structure:"
    echo
    echo "| structure | is it there: AUC | where, of nine places | the commonest place | how large, of three |"
    echo "|---|---|---|---|---|"
    for s in $structures; do word_row $s; done
    echo
    echo "| structure | pointing | DSC of the coarse mask | DSC after SAM | DSC with other structures | asked above other | SAM, true box | box 10 % off |"
    echo "|---|---|---|---|---|---|---|---|"
    for s in all $structures; do row "$cam" $s; done
    echo
    echo "Saliency methods, all structures, on $(part 100 2) phantoms of seed $((seed + 901)):"
    echo
    echo "| method | pointing | pointing at another | DSC of the map | coarse mask | after SAM | with others | asked above |"
    echo "|---|---|---|---|---|---|---|---|"
    awk -F, '$2 == "all" && $1 !~ /box/ { if (!($1 in n)) { n[$1] = ++k; name[k] = $1 } v[$1, $3] = sprintf("%.2f", $5) }
        END { for (i = 1; i <= k; i++) { m = name[i]; printf "| %s | %s | %s | %s | %s | %s | %s | %s |\n", m,
            v[m, "pointing"], v[m, "pointing_other"], v[m, "saliency_dsc"], v[m, "coarse_dsc"],
            v[m, "mask_dsc"], v[m, "cross_dsc"], v[m, "asked_above"] } }' maps/scores.csv
    echo
    echo "Not learnt well (DSC after SAM below .6):"
    awk -F, -v c="$cam" '$1 == c && $2 != "all" && $3 == "mask_dsc" && $5 < .6 { printf "* %s, %.2f\n", $2, $5; f = 1 }
        END { if (!f) print "* none" }' held-out/scores.csv
}
card >README.tmp
cat README.tmp

for f in clip.safetensors vocab.txt sam.safetensors zeroshot.json; do
    cp "$f" "$out/.$f" && mv "$out/.$f" "$out/$f"
done
cp README.tmp "$out/.README.md" && mv "$out/.README.md" "$out/README.md"
say "done in $(($(date +%s) - begin)) s: $out"
if [ "${MINI_KEEP:-0}" != 1 ]; then
    wait
    cd "$out" && rm -rf "$out/work"
fi
