#!/bin/sh
# demo.sh - the whole pipeline on phantoms, with the small trained models of weights/mini if they are
# there; else on a picture that is drawn here, with small models of the published structure and RANDOM
# weights: it then shows that every part runs, not what trained weights find.
cd "$(dirname "$0")/.." || exit 1
out=${1:-demo-out}
mini=${MCS_MINI:-weights/mini}
if [ -e "$mini/clip.safetensors" ] && [ -e "$mini/sam.safetensors" ]; then
    echo "The small models of $mini and phantoms: each is asked for two structures ..."
    tools/eval_phantoms --demo --models "$mini" --pictures 8 --size 192 --seed 4711 --count 1000 -o "$out" -q || exit
    cat <<END

Look at  $out/index.html : picture, saliency, box, mask, DSC.
These models were trained on drawn phantoms (weights/mini/README.md); they know no patients.
On a picture of your own, with them or with published weights:

  tools/zeroshot_seg -i PICTURE -o OUT --html --prompt "chest x-ray showing the heart"
  tools/zeroshot_seg -i PICTURE -o OUT --html --clip open_clip_pytorch_model.bin \\
      --sam sam_vit_b_01ec64.pth --prompt "a medical ultrasound image showing a breast tumor"
END
    exit
fi
echo "Small untrained models and a picture are made in $out/models ..."
tools/make_untrained -o "$out/models" --seed 7 -q || exit
echo "picture + text -> saliency -> coarse mask -> box -> mask ..."
tools/zeroshot_seg -i "$out/models/picture.png" -o "$out" --force --html \
    --clip "$out/models/clip.safetensors" --sam "$out/models/sam.safetensors" --topk 48 \
    --prompt "a medical ultrasound image showing a breast cyst" \
    --save mask,overlay,saliency,coarse,heat -q || exit
echo "... and from a box drawn by hand ..."
tools/zeroshot_seg -i "$out/models/picture.png" -o "$out/box" --force --html \
    --sam "$out/models/sam.safetensors" --box 130,65,252,152 -q || exit
cat <<END

Look at  $out/index.html  and  $out/box/index.html
The weights are untrained: masks and maps are noise by design.  With published weights:

  tools/zeroshot_seg -i PICTURE -o OUT --html --save mask,overlay,heat \\
      --clip open_clip_pytorch_model.bin --sam sam_vit_b_01ec64.pth \\
      --prompt "a medical ultrasound image showing a breast tumor"
END
