#!/bin/sh
# eval_seg from the command line.  a: 8 x 8 pixels in 16 x 16; b: the same, two columns on, so that
# DSC = 96/128, IoU = 48/80.  lab, labb: a in two labels, cut after four and after five columns.
. "$(dirname "$0")/tools_lib.sh"
E="$T/eval_seg"
mkdir files
put() { echo "$2" | base64 -d >"files/$1"; }
put a255 iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAAAAAA6mKC9AAAAG0lEQVR42mNgoBwwMjAw/EdiMzChq6CPADUAANFEARDwxSlpAAAAAElFTkSuQmCC
put b255 iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAAAAAA6mKC9AAAAHElEQVR42mNgoBwwMjAwMDD8R/CY0FXQR4AaAADPRAEQShGWQQAAAABJRU5ErkJggg==
put b01 iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAAAAAA6mKC9AAAAG0lEQVR42mNgoBwwIpEMDP8ZGJjQVdBHgBoAAMdUARCV00P8AAAAAElFTkSuQmCC
put a01 iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAAAAAA6mKC9AAAAH0lEQVR42mNgoBwwQjEDAwPDfwYGBgYmdBX0EaAGAADJVAEQ0B6llQAAAABJRU5ErkJggg==
put a1bit iVBORw0KGgoAAAANSUhEUgAAABAAAAAQAQAAAAA3iMLMAAAAFElEQVR42mNgQALyD5gYGDARMgAAI30BDuRyrhMAAAAASUVORK5CYII=
put argb iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAIAAACQkWg2AAAAIElEQVR42mNgGPqAEc76//8/dhWMjMhcJlJtGNUwUgAA3d4DEGqZ/PgAAAAASUVORK5CYII=
put apal iVBORw0KGgoAAAANSUhEUgAAABAAAAAQAgMAAABinRfyAAAADFBMVEUAAADIHigAAAAAAACjlcIkAAAAF0lEQVR42mNgwAIYQ0MYmBgYGAgQ2AAAKLEAudyXyd0AAAAASUVORK5CYII=
put aalpha iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAYAAAAf8/9hAAAAKElEQVR42mP8//8/AyWAiYFCMPAGsKDxCQUI4zAMg1EDMNMB4wgMAwBouwQiGovOLQAAAABJRU5ErkJggg==
put a16 iVBORw0KGgoAAAANSUhEUgAAABAAAAAQEAAAAABqCHz+AAAAHklEQVR42mNgGHjACKH+/0cTZoSxmAiZMDwUDAYAABsZAhAMSvGiAAAAAElFTkSuQmCC
put ajpg /9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAA0JCgsKCA0LCgsODg0PEyAVExISEyccHhcgLikxMC4pLSwzOko+MzZGNywtQFdBRkxOUlNSMj5aYVpQYEpRUk//wAALCAAQABABAREA/8QAFAABAAAAAAAAAAAAAAAAAAAABf/EACIQAAAEBQUBAAAAAAAAAAAAAAEDERIAAgYTFAQFFlKhFf/aAAgBAQAAPwAGkKF5PtRuu+li2zxJZYeqSyiquDt5BlX05xjdStDl5VwgDn22Is0wIij19hOkK64xtRuh+blXDxOffYiyygiNHr7BlX1HyfdStdiYtsgCWXHqk0wqqB28j//Z
put lab iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAAAAAA6mKC9AAAAG0lEQVR42mNgoBwwIuF/DAwMDEzoKugjQA0AAMlYARAxTDQ3AAAAAElFTkSuQmCC
put labb iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAAAAAA6mKC9AAAAH0lEQVR42mNgoBwwQjEDIwPDPwYGBgYmdBX0EaAGAADJVwEQ/x1OdAAAAABJRU5ErkJggg==
put labpal iVBORw0KGgoAAAANSUhEUgAAABAAAAAQAgMAAABinRfyAAAACVBMVEUAAADIHigK3DzL+6hpAAAAF0lEQVR42mNgwAIYw1YwMDEwMBAgsAEAO58BDnhZ9JUAAAAASUVORK5CYII=
put labbpal iVBORw0KGgoAAAANSUhEUgAAABAAAAAQAgMAAABinRfyAAAACVBMVEUAAADIHigK3DzL+6hpAAAAF0lEQVR42mNgwAIYQ1cwMDEwMBAgsAEAO2UBDbwFZTUAAAAASUVORK5CYII=
put none iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAAAAAA6mKC9AAAADUlEQVR42mNgGAXIAAABEAABf80DtQAAAABJRU5ErkJggg==
put full iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAAAAAA6mKC9AAAAEUlEQVR42mP8z4AKmBhGtAAAIBABH+35zCgAAAAASUVORK5CYII=
put b32 iVBORw0KGgoAAAANSUhEUgAAACAAAAAgCAAAAABWESUoAAAAIUlEQVR42mNgGAUMDAwMjAjmf6xSTIRMGFUwnBSMAggAAFI1ASCeR9EkAAAAAElFTkSuQmCC
put prob iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAAAAAA6mKC9AAAAJElEQVR42mNgoBwwMjAwnGBgYGBgmMPAMIeBgYEJXQV9BKgBAJA3AhBpUzsVAAAAAElFTkSuQmCC

# folder NAME FILE=SOURCE...
folder() {
    at=$1
    shift
    for f; do
        mkdir -p "$(dirname "$at/${f%%=*}")"
        cp "files/${f#*=}" "$at/${f%%=*}"
    done
}
run() { "$E" --progress off -o o/m.csv "$@"; }
# row NAME LINE: a line of the table
row() { if grep -qx -- "$2" o/m.csv; then good; else bad "$1: no line $2"; cat o/m.csv; fi; }

# ---- Values of every kind mean the same ----
folder b x.png=b255
for kind in a255 a01 a1bit argb apal aalpha a16; do
    rm -rf g
    folder g x.png=$kind
    check "truth as $kind" 0 run --gt g --seg b --metrics dsc,iou,sensitivity,precision
    row "truth as $kind" "x,0.75,0.6,0.75,0.75"
    says "foreground is above 0"
done
rm -rf g
folder g x.jpg=ajpg
check "truth as JPEG" 0 run --gt_path g --seg_path b --metrics iou,dsc
row "truth as JPEG" "x,0.6,0.75"
says "warning: truth: JPEG, whose edges are soft; foreground is above 127"
folder b01 x.png=b01
check "a threshold" 0 run --gt g --seg b01 --metrics dsc --seg-threshold 1 -q
row "a threshold" "x,0"
check "a threshold that is none" 2 run --gt g --seg b --gt-threshold half

# ---- One image: figures ----
rm -rf g
folder g x.png=a255
check "one image" 0 run --gt g --seg b --metrics dsc,nsd,nsd_official_region,hd95,hd95_monai,hd,auc
row "one image" "Name,DSC,NSD,NSD_official_region,HD95,HD95_monai,HD,AUC"
prints "DSC,1,0.7500,nan,0.7500,0.7500,0.7500,0.7500"
prints "missed,0"
exists "one image" o/m.json
check "tolerance" 0 run --gt g --seg b --metrics nsd --nsd-tolerance 1.5
cp o/m.csv t1
check "NSD in mm" 0 run --gt g --seg b --metrics nsd --nsd-tolerance 0.75 --spacing 0.5,0.5
same "NSD in mm" t1 o/m.csv
check "the released code's NSD" 0 run --gt g --seg b --metrics nsd --nsd official-region
row "the released code's NSD" "Name,NSD_official_region"
check "distances in mm" 0 run --gt g --seg b --metrics hd --spacing 0.5,3
row "distances in mm" "x,1"
folder p x.png=prob
check "AUC of probabilities" 0 run --gt g --seg b --prob p --metrics auc
row "AUC of probabilities" "x,0.994791667"

# ---- Empty masks ----
rm -rf g s
folder g one.png=a255 both.png=none missed.png=a255 alarm.png=none
folder s one.png=b255 both.png=none missed.png=none alarm.png=b255
check "empty masks" 0 run --gt g --seg s --metrics dsc,hd,sensitivity,precision,auc
row nan "both,nan,nan,nan,nan,nan"
row nan "missed,0,nan,0,nan,0.5"
row nan "alarm,0,nan,nan,0,nan"
row nan "n,3,1,2,2,2"
for c in truth_empty,2 segmentation_empty,2 both_empty,1 missed,1 false_alarms,1 measured,4; do prints "$c"; done
prints "DSC,3,0.2500,0.4330,0.0000,0.7500,0.0000,0.3750"
check "zero" 0 run --gt g --seg s --metrics dsc,hd,sensitivity,precision,auc --empty zero -q
row zero "both,0,nan,0,0,nan"
row zero "missed,0,nan,0,0,0.5"
prints "missed,1"
check "one" 0 run --gt g --seg s --metrics dsc,hd,sensitivity,precision --empty one
row one "both,1,0,1,1"
row one "missed,0,22.627417,0,0"
row one "alarm,0,22.627417,0,0"
check "worst" 0 run --gt g --seg s --metrics dsc,hd,sensitivity,precision --empty worst
row worst "both,0,22.627417,0,0"
rm -rf g s
folder g x.png=none y.png=none
folder s x.png=none y.png=none
check "all masks empty" 0 run --gt g --seg s --metrics dsc,iou,nsd,hd95,auc --html o/e.html
row "all masks empty" "mean,nan,nan,nan,nan,nan"
prints "both_empty,2"

# ---- Pairs ----
rm -rf g s
folder g k/1.png=a255 k/2_mask.png=a255 k/3-mask.png=a255 "l/1 (3)_segmentation.png=a255" 9.png=a255
folder s k/1.png=b255 k/2.png=b255 k/3.png=b255 "l/1 (3).png=b255" 5.png=a255
check "pairs in folders" 3 run --gt g --seg s --metrics dsc
row "pairs" "k/1,0.75"
row "pairs" "k/2_mask,0.75"
row "pairs" "k/3-mask,0.75"
row "pairs" "l/1 (3)_segmentation,0.75"
prints "without_segmentation,1"
prints "without_truth,1"
has "listed" o/m.json '"5.png"'
has "listed" o/m.json '"9.png"'
hasnot "left out" o/m.csv "9,"
check "missing ones are empty" 0 run --gt g --seg s --metrics dsc --missing empty
row "missing" "9,0"
prints "missed,1"
rm -rf s
folder s z.png=b255
check "no pairs" 1 run --gt g --seg s
says "the first are 9.png and z.png"
rm -rf g s
folder g x.png=a255 y.png=a255
folder s x.png=b32 y.png=b255
check "another size" 0 run --gt g --seg s --metrics dsc
row "another size" "x,0.75"
says "1 segmentations were resized"
check "another size" 3 run --gt g --seg s --metrics dsc --size-mismatch error
says "x.png has 32 x 32 pixels, expected 16 x 16"
prints "failed,1"
head -c 40 files/b255 >s/y.png
check "broken file" 3 run --gt g --seg s --metrics dsc
prints "measured,1"
check "nothing left" 1 run --gt g --seg s --metrics dsc --size-mismatch error

# ---- BUSI: pictures beside their masks, several masks of a picture ----
rm -rf g s
folder g "benign (1).png=prob" "benign (1)_mask.png=none" "benign (1)_mask_1.png=a255" \
    "benign (2).png=prob" "benign (2)_mask.png=a255"
folder s "benign (1).png=b255" "benign (2).png=b255"
check "BUSI" 0 run --gt g --seg s --metrics dsc
says "2 files are pictures"
row "BUSI" "benign (1)_mask,0.75"
row "BUSI" "n,2"

# ---- Labels ----
rm -rf g s
folder g x.png=lab y.png=none
folder s x.png=labb y.png=none
check "labels" 0 run --gt g --seg s --metrics dsc
row "labels" "Name,Label,DSC"
row "labels" "x,1,0.888888889"
row "labels" "x,2,0.857142857"
row "labels" "x,mean,0.873015873"
row "labels" "mean,2,0.857142857"
row "labels" "mean,mean,0.873015873"
says "2 labels: 1, 2"
check "labels as one" 0 run --gt g --seg s --metrics dsc --labels binary
row "labels as one" "x,1"
check "one of the labels" 0 run --gt g --seg s --metrics dsc --labels 2
row "one of the labels" "x,0.857142857"
check "no label" 2 run --gt g --seg s --labels two
rm -rf h t
folder h x.png=labpal
folder t x.png=labbpal
check "palette" 0 run --gt h --seg t --metrics dsc
row "palette" "x,#0adc3c,0.857142857"
check "labels and a mask" 0 run --gt g --seg b --metrics dsc --missing empty
says "do not agree on labels"
row "labels and a mask" "x,0.75"

# ---- Volumes ----
rm -rf g s
folder g v/s9.png=a255 v/s10.png=a255 w/1.png=none w/2.png=a255
folder s v/s9.png=b255 v/s10.png=b255 w/1.png=none w/2.png=b255
check "volumes" 0 run --gt g --seg s --volumes subfolders --metrics dsc,hd,nsd --spacing 0.5,0.5,4
row "volumes" "v,0.75,1,1"
prints "measured,2"
rm s/w/1.png
check "a slice less" 3 run --gt g --seg s --volumes subfolders --metrics dsc
says "w/1.png: no segmentation of that name"
check "a slice less" 0 run --gt g --seg s --volumes subfolders --metrics dsc --missing empty
check "not of volumes" 2 run --gt g --seg s --volumes subfolders --metrics nsd_official_region

# ---- Two methods, the page ----
rm -rf g s t i
for k in 1 2 3 4 5 6; do
    folder g $k.png=a255
    folder s $k.png=a255
    folder t $k.png=b255
    folder i $k.jpg=ajpg
done
folder s 3.png=b255 5.png=none
check "two methods" 0 run --gt g --seg s --compare t --metrics dsc --html o/page.html --images i
prints "DSC,6,0.7917,0.7500,0.0417,"
prints ",4,1,1,0.75" # ranks 2.5 2.5 2.5 2.5 and 5: 2 * 12 of 32 patterns
has "two methods" o/m.json '"wilcoxon_p": 0.75'
exists "the page" o/page_files/00006.png
has "the page" o/page.html "missed: nothing found"
grep -o '<b>[0-9]</b>' o/page.html | head -2 | tr -d '\n' >order
printf '<b>5</b><b>3</b>' >expected
same "worst first" order expected
cp o/m.csv o/n.csv
check "threads do not matter" 0 run --gt g --seg s --compare t --metrics dsc --threads 1 --seed 0
same "threads do not matter" o/m.csv o/n.csv

check "no truth" 2 run --seg s
check "no such measure" 2 run --gt g --seg s --metrics dice
says "not 'dice'"
check "no such spacing" 2 run --gt g --seg s --spacing 1
check "no such folder" 1 run --gt nowhere --seg s
check "dry run" 0 "$E" --gt g --seg s --dry-run -o d.csv
absent "dry run" d.csv
report
