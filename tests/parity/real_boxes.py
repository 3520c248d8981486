"""The table of docs/reproduce/real.json in Python: SAM's original classes on the same boxes.

usage: real_boxes.py TYPE WEIGHTS OUT [--count N]
OUT is the folder that tools/reproduce docs/reproduce/real.json -o OUT left; types and requirements:
sam.py.  For every set: mean DSC of ours and of the original with the reference masks, in points, and
the least IoU of the two programs' masks.  Exits 1 if a mean differs by half a point or more.
"""
import argparse
import glob
import json
import os
import sys
import numpy as np
import torch
from PIL import Image
import sam as parity


def mask(path):
    a = np.array(Image.open(path).convert("L"))
    return a > (127 if a.max() > 127 else 0)


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def one_set(model, folder, cell, count):
    boxes = json.load(open(os.path.join(folder, "boxes.json")))
    rows = []
    for name in sorted(boxes)[:count]:
        stem = os.path.splitext(name)[0]
        truth = mask(glob.glob(os.path.join(glob.escape(os.path.join(folder, "masks", stem)) + ".*"))[0])
        ours = mask(os.path.join(cell, "run", "masks", stem + ".png"))
        x = {"rgb": torch.from_numpy(np.array(Image.open(os.path.join(folder, "images", name)).convert("RGB"))),
             "boxes": torch.tensor(boxes[name], dtype=torch.float32), "labels": torch.tensor([1]),
             "points": torch.tensor([[1., 1.]])}
        theirs = (parity.reference(model, x, False)[0]["box.masks"][:, 0].numpy() > 0).any(0)
        rows.append((dice(ours, truth), dice(theirs, truth), parity.iou(ours, theirs)))
    return np.array(rows)


def main():
    a = argparse.ArgumentParser()
    a.add_argument("kind")
    a.add_argument("weights")
    a.add_argument("out")
    a.add_argument("--count", type=int)
    o = a.parse_args()
    model = parity.trained(o.kind, o.weights)
    bad = False
    print("| set | pictures | ours, DSC % | the original, DSC % | difference | least IoU of the two masks |")
    print("|---|---|---|---|---|---|")
    for cell in sorted(glob.glob(os.path.join(o.out, "cells", "*", "box-*"))):
        name = os.path.basename(os.path.dirname(cell))
        folder = glob.glob(os.path.join(o.out, "sets", name + "-*"))[0]
        r = one_set(model, folder, cell, o.count)
        mean = 100 * r.mean(0)
        bad = bad or abs(mean[0] - mean[1]) >= .5
        print(f"| {name} | {len(r)} | {mean[0]:.2f} | {mean[1]:.2f} | {mean[0] - mean[1]:+.3f} | {r[:, 2].min():.5f} |",
              flush=True)
    sys.exit(int(bad))


main()
