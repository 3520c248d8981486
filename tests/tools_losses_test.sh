#!/bin/sh
# weights/mini/losses.sh in miniature: every run, stopped and started again; and its statistics by hand.
. "$(dirname "$0")/tools_lib.sh"
script="$top/weights/mini/losses.sh"
export MINI_SCALE=0.001 MINI_TOOLS="$T" LOSSES_OUT="$tmp/l" LOSSES_SEEDS=2 LOSSES_JOBS=2 MINI_KEEP=1
"$script" >first.log 2>&1 &
pid=$!
for i in $(seq 300); do [ -e l/work/figures/infonce-1.csv ] && break; sleep 0.1; done
kill $pid
wait $pid 2>/dev/null
absent "stopped in the middle" l/losses.csv
cp -p l/work/figures/infonce-1.csv kept.csv
sleep 1
# a tool that was running may hold its folder for a moment
check "goes on" 0 sh -c 'for i in 1 2 3 4 5 6; do "$0" && exit; sleep 3; done; exit 1' "$script"
prints "done in"
for l in InfoNCE DCL HN-NCE DHN-NCE start ceiling; do prints "$l "; done
[ "$(find l/work/figures/infonce-1.csv -newer kept.csv)" ] && bad "a run was done twice" || good
lines "header, ceiling, start, four losses, five measures each" l/losses.csv 31
lines "start and eight runs, two wordings, two directions, six measures" l/runs.csv $((1 + 9 * 24))
has "picture" l/losses.html "<svg"
if command -v xmllint >/dev/null; then check "well-formed" 0 xmllint --noout l/losses.svg; fi
hasnot "no path of this machine" l/losses.html "$tmp"
check "other settings" 2 env LOSSES_STEPS=5000 "$script"
says "delete it to begin with others"
cp l/work/start.safetensors l/work/vocab.txt .
check "a start of one's own" 0 env LOSSES_START=start.safetensors LOSSES_OUT=own LOSSES_SEEDS=1 MINI_KEEP=0 "$script"
exists "a start of one's own" own/losses.csv
absent "the work is gone" own/work
cmp -s own/runs.csv l/runs.csv && bad "one seed is not two" || good
# The same start and seed give the same figures, whoever made the start.
grep '^dhn-nce,1,' l/runs.csv >a
grep '^dhn-nce,1,' own/runs.csv >b
same "reproducible" a b

# ---- Statistics: three seeds, InfoNCE .1 .2 .3, DCL .2 above (.19 .2 .21), HN-NCE equal, DHN-NCE -.1 to +.1
{
    echo loss,seed,captions,direction,measure,value
    for k in top1 top2 "top1 ceiling" "top2 ceiling"; do
        for d in "picture to text" "text to picture"; do
            echo "start,0,complete,$d,$k,.05"
            for s in 1 2 3; do
                awk -v s=$s -v d="$d" -v k="$k" 'BEGIN { OFS = ","; x = s / 10
                    print "infonce", s, "complete", d, k, x; print "dcl", s, "complete", d, k, x + .2 + (s - 2) / 100
                    print "hn-nce", s, "complete", d, k, x; print "dhn-nce", s, "complete", d, k, x + (s - 2) / 10
                    print "dcl", s, "plain", d, k, 7 }'
            done
        done
    done
} >runs.csv
awk -F, -v losses="infonce dcl hn-nce dhn-nce" -v seeds=3 -f "$top/weights/mini/losses.awk" runs.csv >by_hand
# sd .1, t(2) = 4.303: .1 * 4.303 / sqrt(3) = .24843; differences of DCL: sd .01
has "mean and interval" by_hand "csv infonce,mean top1,3,0.2000,-0.0484,0.4484,0.0000,0.0000,0.0000"
has "by seed" by_hand "csv dcl,mean top1,3,0.4000,0.1267,0.6733,0.2000,0.1752,0.2248"
has "noise" by_hand "csv dhn-nce,text to picture top2,3,0.2000,-0.2969,0.6969,0.0000,-0.2484,0.2484"
has "in words" by_hand "against InfoNCE: DCL above."
sed 's/^dcl,/x,/; s/^hn-nce,/dcl,/; s/^x,/hn-nce,/' runs.csv | sed 's/^hn-nce,\(.\),complete,\(.*\),\(top.*\),.*/hn-nce,\1,complete,\2,\3,0.\1/' |
    awk -F, -v losses="infonce dcl hn-nce dhn-nce" -v seeds=3 -f "$top/weights/mini/losses.awk" >none
has "in words" none "No loss differs from InfoNCE beyond noise"
report
