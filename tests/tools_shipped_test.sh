#!/bin/sh
# The small models that come with the project: found, named in run.json, never in place of given ones.
. "$(dirname "$0")/tools_lib.sh"
Z=$T/zeroshot_seg
"$T/make_untrained" -o m --size 64 -q || exit 1
mkdir mini
cp m/clip.safetensors m/vocab.txt m/sam.safetensors mini
echo '{"cam": "gradcam*relevance", "postprocess": "otsu"}' >mini/zeroshot.json
run() { "$Z" -i m/picture.png --progress off "$@"; }

check "none there" 2 run -o x -p cyst
says "no model: give --clip FILE and --sam FILE"
check "none there" 2 "$T/embed" -p cyst -o x.npy
says "no model: give --clip FILE"

check "by the environment" 0 env MCS_MINI=mini "$Z" -i m/picture.png --progress off -o a -p cyst --html
says "know drawn phantoms, not patients"
has "the page says so, too" a/index.html "know drawn phantoms, not patients"
has "run.json says which" a/run.json "mini/sam.safetensors"
has "run.json says which" a/run.json '"models": "shipped"'
has "and what was the default" a/run.json '"default": "gradcam*relevance"'
has "settings of the models" a/run.json '"postprocess": "otsu"'
check "flags win" 0 run --models mini -o b -p cyst --cam relevance
has "flags win" b/run.json '"cam": "relevance"'
has "flags win" b/run.json '"default": "gradcam*relevance"'
check "a preset, too" 0 run --models mini -o c -p cyst --preset official-code --topk 8
has "a preset, too" c/run.json '"cam": "gscorecam"'
check "given models keep the paper's default" 0 env MCS_MINI=mini "$Z" -i m/picture.png -o d -p cyst \
    --clip m/clip.safetensors --sam m/sam.safetensors --topk 8 --progress off --html
has "given models" d/run.json '"models": "given"'
if grep -q phantoms d/index.html; then bad "no notice of given models"; else good; fi
has "given models" d/run.json '"cam": "gscorecam"'
check "a box needs no text" 0 run --models mini -o f --box 10,10,40,40
check "embed" 0 env MCS_MINI=mini "$T/embed" -p cyst -o e1.npy
says "know drawn phantoms, not patients"
check "embed with the model named" 0 "$T/embed" -p cyst -o e2.npy --clip mini/clip.safetensors
same "the same" e1.npy e2.npy
check "an empty folder" 2 run --models m2 -o g -p cyst
says "neither clip.safetensors nor sam.safetensors"
echo '{"cma": 1}' >mini/zeroshot.json
check "broken settings" 2 run --models mini -o h -p cyst
mkdir -p tree/tools tree/weights
cp "$Z" tree/tools/
mv mini tree/weights/mini
rm tree/weights/mini/zeroshot.json
unset MCS_MINI
check "beside the program" 0 tree/tools/zeroshot_seg -i m/picture.png -o i -p cyst --topk 8 --progress off
has "beside the program" i/run.json "weights/mini/clip.safetensors"
report
