"""SAM on real pictures, prompted with the box of each reference mask.

usage: sam_boxes.py TYPE WEIGHTS FOLDER [--count N]
FOLDER is searched for pairs NAME.png, NAME_mask.png.  Prints for every picture the Dice coefficient
of our mask with the reference, and the IoU of our mask with that of the original program on the same
weights (types and requirements: sam.py), then means.
"""
import argparse
import glob
import os
import subprocess
import tempfile
import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
import sam as parity


def pairs(folder):
    for mask in sorted(glob.glob(os.path.join(folder, "**", "*_mask.png"), recursive=True)):
        picture = mask[:-len("_mask.png")] + ".png"
        if os.path.exists(picture):
            yield picture, np.array(Image.open(mask).convert("L")) > 127


def main():
    a = argparse.ArgumentParser()
    a.add_argument("kind")
    a.add_argument("weights")
    a.add_argument("folder")
    a.add_argument("--count", type=int, default=20)
    o = a.parse_args()
    exe = parity.compile_dump()
    model = parity.trained(o.kind, o.weights)
    work = tempfile.mkdtemp(prefix="sam_boxes_")
    inp, out = os.path.join(work, "in.safetensors"), os.path.join(work, "out.safetensors")
    rows = []
    found = [p for p in pairs(o.folder) if p[1].any()]
    for picture, truth in found[::max(1, len(found) // o.count)][:o.count]:
        ys, xs = np.nonzero(truth)
        box = np.array([[xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]], np.float32)
        x = {"rgb": torch.from_numpy(np.array(Image.open(picture).convert("RGB"))),
             "boxes": torch.from_numpy(box), "labels": torch.tensor([1]),
             "points": torch.tensor([[float(xs.mean()), float(ys.mean())]])}
        save_file(x, inp)
        subprocess.check_output([exe, o.weights, inp, out])
        ours = load_file(out)["box.masks"][0, 0].numpy() > 0
        theirs = parity.reference(model, x, False)[0]["box.masks"][0, 0].numpy() > 0
        dice = 2 * (ours & truth).sum() / (ours.sum() + truth.sum())
        rows.append((dice, parity.iou(ours, theirs)))
        print(f"{dice:.4f} {rows[-1][1]:.6f} {os.path.basename(picture)}", flush=True)
    for f in (inp, out):
        os.unlink(f)
    d, i = np.array(rows).T
    print(f"{len(rows)} pictures: Dice mean {d.mean():.4f} median {np.median(d):.4f} "
          f"least {d.min():.4f}; IoU with the original: least {i.min():.6f}")


main()
