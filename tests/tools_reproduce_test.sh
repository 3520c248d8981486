#!/bin/sh
# reproduce: a small table from one description, resumed, changed, stopped; its figures by hand.
. "$(dirname "$0")/tools_lib.sh"
R="$T/reproduce"
[ -x "$T/eval_seg" ] || { skip "no eval_seg"; report; }
"$T/make_untrained" -o m --size 48 -q || exit 1

cat >plan.json <<'END'
{"title": "A <small> table", "about": ["what & why"], "places": {"models": "nowhere"}, "seeds": [1, 2],
 "prepare": [{"name": "test", "run": ["make_phantoms", "-o", "{out}", "--count", 12, "--seed", 7, "--size", 48]},
             {"name": "copy", "run": [["make_phantoms", "-o", "{out}/a", "--count", 1, "--size", 48],
                                      ["inspect_weights", "info", "{models}/sam.safetensors"]]},
             {"name": "unused", "run": ["inspect_weights", "info", "{models}/nothing"]}],
 "sets": [
  {"name": "heart", "title": "Heart", "images": "{prep:test}/images", "masks": "{prep:test}/structures/heart",
   "train_images": "{prep:copy}/a/images", "options": ["--prompt", "chest x-ray showing the heart"]},
  {"name": "lungs", "images": "{prep:test}/images", "masks": "{prep:test}/structures/lungs", "count": 3,
   "options": ["--prompt", "chest x-ray showing the lungs", "--num-contours", 2]}],
 "methods": [
  {"name": "coarse", "title": "coarse mask", "zeroshot": ["--clip", "{models}/clip.safetensors", "--topk", 4]},
  {"name": "sam", "title": "after SAM", "zeroshot": ["--clip", "{models}/clip.safetensors",
   "--sam", "{models}/sam.safetensors", "--topk", 4]}],
 "compare": [["sam", "coarse"]],
 "tables": [{"title": "Both", "methods": ["coarse", "sam"]}],
 "published": [{"label": "elsewhere, \"quoted\"", "source": "a test", "figures":
   {"sam": {"heart": {"dsc": 77.76, "nsd": 81.11}, "all": {"dsc": 12.34}}}}]}
END

run() { "$R" plan.json --set models=m --progress off "$@"; }

check "a table" 0 run -o out
for f in table.csv table.json index.html; do exists "a table" out/$f; done
prints "sam - coarse"
prints '77.76 / 81.11 (elsewhere, "quoted")'
prints '12.34 (elsewhere, "quoted")'
has "the page escapes" out/index.html "A &#60;small&#62; table"
hasnot "the page escapes" out/index.html "<small> table"
has "published beside ours" out/index.html "77.76 / 81.11"
has "pictures are in the page" out/index.html "data:image/png;base64,iVBORw0KGgo"
hasnot "no outside address" out/index.html "://"
[ "$(ls -d out/cells/*/* | wc -l)" -eq 8 ] && good || bad "two sets, two methods, two seeds"
has "commands are noted" "$(ls -d out/cells/heart/sam-s1-*)/log.txt" "zeroshot_seg -i out/sets/heart-"

# By hand: the mean of all pictures' DSC in the cells of both seeds.
mean=$(awk -F, 'FNR == 1 { c = 0; for (i = 1; i <= NF; i++) if ($i == "DSC") c = i; next }
    $1 ~ /_xray/ { s += $c; n++ } END { printf "%.2f", 100 * s / n }' out/cells/heart/sam-s*/scores.csv)
told=$(awk -F, '$1 == "heart" && $2 == "sam" && $3 == "dsc" { printf "%.2f", $5 }' out/table.csv)
[ -n "$mean" ] && [ "$mean" = "$told" ] && good || bad "mean DSC $told, by hand $mean"
awk -F, 'NR == 1 { next } { n[$1 "," $2 "," $3] = $4; v[$1 "," $2 "," $3] = $5 }
    END { k = "heart,sam,dsc"; l = "lungs,sam,dsc"; a = "all,sam,dsc"
          want = (n[k] * v[k] + n[l] * v[l]) / (n[k] + n[l])
          exit !(n[l] == 3 && n[a] == n[k] + n[l] && v[a] - want < .001 && want - v[a] < .001 &&
                 v["all,sam - coarse,dsc"] - (v[a] - v["all,coarse,dsc"]) < .001) }' out/table.csv &&
    good || bad "all pictures together, differences"

cp out/table.csv first.csv
ls -l --time-style=full-iso out/cells/*/*/log.txt >before
check "again" 0 run -o out
ls -l --time-style=full-iso out/cells/*/*/log.txt >after
same "nothing is done again" before after
same "the same table" first.csv out/table.csv
check "the table alone" 0 run -o out --table
same "the same table" first.csv out/table.csv

sed 's/"--topk", 4\]}\],/"--topk", 5]}],/' plan.json >changed.json
check "a changed method" 0 "$R" changed.json --set models=m --progress off -o out --only lungs
[ "$(ls -d out/cells/lungs/* | wc -l)" -eq 6 ] && good || bad "new cells for the changed method alone"
prints "lungs"

# Stopped, and gone on with: the same table.
"$R" plan.json --set models=m --progress off -o other >/dev/null 2>&1 &
pid=$!
for i in $(seq 200); do ls other/cells/*/*/run >/dev/null 2>&1 && break; sleep 0.05; done
kill $pid
wait $pid
code=$?
[ $code -eq 143 ] || [ $code -eq 0 ] && good || bad "stopped: exit $code"
check "goes on" 0 run -o other
same "the same table after a stop" first.csv other/table.csv

# Boxes of the truth; several masks of one picture.
mkdir busi
p=$(ls out/prepare/test-*/structures/heart | head -n 1)
cp out/prepare/test-*/images/"$p" "busi/a (1).png"
cp out/prepare/test-*/structures/heart/"$p" "busi/a (1)_mask.png"
cp out/prepare/test-*/structures/lungs/"$p" "busi/a (1)_mask_1.png"
cat >busi.json <<'END'
{"sets": [{"name": "b", "images": "busi", "masks": "busi", "mask_suffix": "_mask", "boxes": "truth"}],
 "methods": [{"name": "box", "zeroshot": ["--sam", "m/sam.safetensors"]}]}
END
check "boxes of the truth" 0 "$R" busi.json -o b --progress off
has "boxes of the truth" b/sets/b-*/boxes.json "a (1).png"
[ "$(ls b/sets/b-*/images | wc -l)" -eq 1 ] && good || bad "masks are no pictures"
differ "a union of masks" b/sets/b-*/masks/a*.png "busi/a (1)_mask.png"

# Every mask a case of its own.
mkdir ct ct/images ct/masks
cp "busi/a (1).png" ct/images/s_1.png
cp "busi/a (1).png" ct/images/s_1_2.png
cp "busi/a (1)_mask.png" ct/masks/s_1_heart_000.png
cp "busi/a (1)_mask_1.png" ct/masks/s_1_lungs_000.png
cp "busi/a (1)_mask_1.png" ct/masks/s_1_2_lungs.png
cp "busi/a (1)_mask_1.png" ct/masks/other_lungs.png
sed 's|"images": "busi"|"images": "ct/images"|; s|"masks": "busi"|"masks": "ct/masks"|; s|"_mask"|"*"|' busi.json >ct.json
check "each mask" 0 "$R" ct.json -o ct-out --progress off
[ "$(ls ct-out/sets/b-*/images | tr '\n' ' ')" = "s_1_2_lungs.png s_1_heart_000.png s_1_lungs_000.png " ] && good ||
    bad "each mask is a case: $(ls ct-out/sets/b-*/images)"
[ "$(readlink ct-out/sets/b-*/images/s_1_heart_000.png | sed 's|.*/||')" = s_1.png ] && good || bad "its picture"
[ "$(readlink ct-out/sets/b-*/images/s_1_2_lungs.png | sed 's|.*/||')" = s_1_2.png ] && good || bad "the longest stem"
same "and its mask" ct-out/sets/b-*/masks/s_1_lungs_000.png ct/masks/s_1_lungs_000.png

# Weak supervision: learns from the masks of the training pictures.
if [ -x "$T/train_unet" ] && [ -x "$T/predict_unet" ]; then
    cat >weak.json <<'END'
{"sets": [{"name": "heart", "images": "{p}/images", "masks": "{p}/structures/heart", "count": 2,
   "train_images": "{p}/images", "train_masks": "{p}/structures/heart",
   "options": ["--prompt", "chest x-ray showing the heart"]}],
 "methods": [{"name": "sam", "zeroshot": ["--clip", "m/clip.safetensors", "--topk", 4, "--empty-box", "whole"]},
   {"name": "unet", "learns_from": "sam", "train": TRAIN}]}
END
    sed -i 's/TRAIN/["--size", 32, "--epochs", 2, "--channels", "4,8"], "weights": ["epoch_1", "epoch_2"]/' weak.json
    check "weak supervision" 0 "$R" weak.json -o w --set "p=$(ls -d out/prepare/test-*)" --progress off
    [ "$(ls -d w/cells/heart/*-train-* | wc -l)" -eq 1 ] && good || bad "masks to learn from"
    prints "unet"
else
    skip "no train_unet yet"
fi

check "no description" 2 "$R" -o x
check "no output folder" 2 "$R" plan.json
check "no value" 2 "$R" busi.json -o x --only nothing
says "no set or method of that name"
check "places" 1 "$R" plan.json -o x --progress off
echo '{"sets": [], "methods": []}' >bad.json
check "empty lists" 2 "$R" bad.json -o x
echo '{"sets": [{"name": "a/b", "images": "x", "masks": "x"}], "methods": [{"name": "m", "zeroshot": []}]}' >bad.json
check "a name that is a path" 2 "$R" bad.json -o x
echo '{"sets": [{"name": "a", "image": "x"}], "methods": [{"name": "m", "zeroshot": []}]}' >bad.json
check "unknown key" 2 "$R" bad.json -o x
says "no key 'image'"
echo '{"sets": [{"name": "a", "images": "{x}", "masks": "x"}], "methods": [{"name": "m", "zeroshot": []}]}' >bad.json
check "no value" 2 "$R" bad.json -o x --progress off
says "no value for '{x}'"
echo '{"prepare": [{"name": "p", "run": ["/bin/echo", "x"]}], "sets": [{"name": "a", "images": "{prep:p}", "masks": "x"}],
    "methods": [{"name": "m", "zeroshot": []}]}' >bad.json
check "only our tools" 2 "$R" bad.json -o x --progress off
says "bare name"
echo '{"sets": [{"name": "a", "images": "x", "masks": "x"}], "methods": [{"name": "m", "learns_from": "n"}]}' >bad.json
check "learns from nothing" 2 "$R" bad.json -o x
for f in "$top"/docs/reproduce/*.json; do
    check "shipped description $(basename "$f")" 0 "$R" "$f" -o x --dry-run
done
report
