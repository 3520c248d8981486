#!/bin/sh
# demo.sh - the whole pipeline on a picture that is drawn here, with small models of the published
# structure and RANDOM weights: it shows that every part runs, not what trained weights find.
cd "$(dirname "$0")/.." || exit 1
out=${1:-demo-out}
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
