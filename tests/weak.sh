#!/bin/sh
# weak.sh [FOLDER] - weak supervision end to end on phantoms: zero-shot masks of training pictures, a
# UNet that learns from them alone, and both compared on held-out pictures.  Needs the small default
# models ($MCS_MINI or weights/mini).  The variables below change what is done; it goes on where it
# was stopped.  No ground truth takes part but in the last step.
top=$(cd "$(dirname "$0")/.." && pwd)
T=${TOOLS:-$top/tools}
: "${KIND:=mri}" "${STRUCTURE:=tumour}" "${PROMPT:=brain MRI showing a tumor}"
: "${TRAIN:=400}" "${TEST:=100}" "${SIZE:=96}" "${EPOCHS:=40}" "${CYCLES:=4}"
mkdir -p "${1:-weak-out}" && cd "${1:-weak-out}" || exit 1

pictures() { # FOLDER COUNT SEED: phantoms that show the structure, and their zero-shot masks
    "$T/make_phantoms" -o "$1" --count "$2" --seed "$3" --size "$SIZE" --kinds "$KIND" --quiet || exit
    mkdir -p "$1/shown"
    for mask in "$1/structures/$STRUCTURE"/*; do
        [ -e "$1/shown/$(basename "$mask")" ] || cp "$1/images/$(basename "$mask")" "$1/shown" || exit
    done
    # shellcheck disable=SC2086
    "$T/zeroshot_seg" -i "$1/shown" -o "$1/zero" --prompt "$PROMPT" $ZEROSHOT || exit
}
pictures train "$TRAIN" 11
pictures test "$TEST" 12

# shellcheck disable=SC2086
"$T/train_unet" --images train/shown --masks train/zero/masks --val-share 0.1 --size "$SIZE" \
    --epochs "$EPOCHS" --cycles "$CYCLES" --keep 1 --resume latest --name unet $UNET || exit
cycles=$(awk -v e="$EPOCHS" -v c="$CYCLES" \
    'BEGIN { for (k = 1; k <= c; k++) printf "logs/unet/checkpoints/epoch_%d.safetensors ", int(k * e / c) }')
# shellcheck disable=SC2086
"$T/predict_unet" -i test/shown -o test/unet --save mask,prob,uncertainty,overlay --html \
    --weights $cycles || exit

for who in zero unet; do
    echo "$who: held-out pictures against the truth"
    "$T/eval_seg" --gt "test/structures/$STRUCTURE" --seg "test/$who/masks" -o "$who.csv" || exit
done
