#!/usr/bin/env python3
"""Compares reading, conversion, resampling and preprocessing with Pillow, torchvision and
Segment Anything on every real picture of the data folder, and prints the table of
docs/numerics.md.  Needs pillow, numpy, torch, torchvision, opencv."""
import glob
import os
import sys
import time

import numpy as np
from PIL import Image

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from image_tool import DATA, Tool  # noqa: E402

import torch  # noqa: E402

# A torchvision whose compiled operators do not match torch still has its transforms.
LIB = torch.library.Library("torchvision", "FRAGMENT")
for op in "nms qnms roi_align roi_pool ps_roi_align ps_roi_pool deform_conv2d".split():
    for name in (op, "_%s_backward" % op):
        if not hasattr(torch.ops.torchvision, name):
            LIB.define(name + "(Tensor a) -> Tensor")
from torchvision import transforms as T  # noqa: E402

CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
SAM = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
FILTERS = {"nearest": Image.NEAREST, "bilinear": Image.BILINEAR, "bicubic": Image.BICUBIC}


class Row:
    def __init__(self, what, unit="levels"):
        self.what, self.unit, self.n, self.worst, self.bad = what, unit, 0, 0.0, []

    def add(self, ours, theirs, name):
        self.n += 1
        if isinstance(ours, str) or ours.shape != theirs.shape:
            self.bad.append((name, ours if isinstance(ours, str) else (ours.shape, theirs.shape)))
            return
        d = float(np.abs(ours.astype(np.float64) - theirs.astype(np.float64)).max())
        self.worst = max(self.worst, d)
        if d:
            self.bad.append((name, d))

    def show(self):
        print("| %-58s | %5d | %g %s |" % (self.what, self.n, self.worst, self.unit))
        for b in self.bad[:int(os.environ.get("SHOW", 3))]:
            print("    ", *b)
        return not self.bad


def pixels(im):
    a = np.asarray(im)
    return a[:, :, None] if a.ndim == 2 else a


def two_passes(im, size, f):
    """Image.resize with the horizontal pass first, as every Pillow up to 12 does; Pillow 13 takes
    the cheaper order, which changes the rounding between the passes."""
    if f == Image.NEAREST:
        return im.resize(size, f)
    return im.resize((size[0], im.height), f).resize(size, f)


def clip_reference(im, side, squash):
    size = (side, side) if squash else side
    if squash:
        im = two_passes(im, size, Image.BICUBIC)
    t = T.Compose([T.Resize(size, T.InterpolationMode.BICUBIC), T.CenterCrop(side), T.ToTensor(),
                   T.Normalize(*CLIP)])
    return t(im).numpy().reshape(3 * side, side, 1)


def sam_reference(im, side):
    """ResizeLongestSide.apply_image and Sam.preprocess."""
    w, h = im.size
    scale = side * 1.0 / max(h, w)
    h, w = int(h * scale + 0.5), int(w * scale + 0.5)
    x = torch.from_numpy(np.array(im.resize((w, h), Image.BILINEAR))).permute(2, 0, 1)[None].float()
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in SAM)
    x = torch.nn.functional.pad((x - mean) / std, (0, side - w, 0, side - h))
    return x.numpy().reshape(3 * side, side, 1)


def main():
    tool = Tool()
    paths = sorted(glob.glob(DATA + "/images/**/*.png", recursive=True) +
                   glob.glob(DATA + "/images/**/*.jpg", recursive=True))
    suite = sorted(glob.glob(DATA + "/malformed/png/primary/*.png"))
    rows = {k: Row(v) for k, v in {
        "rgb": "read + convert('RGB'): pictures", "grey": "read + convert('L'): pictures",
        "srgb": "read + convert('RGB'): PngSuite", "sgrey": "read + convert('L'): PngSuite",
        "nearest": "resize NEAREST", "bilinear": "resize BILINEAR", "bicubic": "resize BICUBIC"}.items()}
    rows["clip"] = Row("CLIP 224: Resize, CenterCrop, ToTensor, Normalize", "")
    rows["squash"] = Row("CLIP 224 squashed", "")
    rows["sam"] = Row("SAM 1024: ResizeLongestSide, preprocess", "")
    rows["map"] = Row("map resize, cv2 INTER_LINEAR float32", "")
    for p in suite:
        im = Image.open(p)
        rows["srgb"].add(tool("rgb", p), pixels(im.convert("RGB")), p)
        rows["sgrey"].add(tool("grey", p), pixels(im.convert("L")), p)
    rng = np.random.RandomState(0)
    for i, p in enumerate(paths):
        im = Image.open(p)
        rgb = im.convert("RGB")
        rows["rgb"].add(tool("rgb", p), pixels(rgb), p)
        rows["grey"].add(tool("grey", p), pixels(im.convert("L")), p)
        w, h = rgb.size
        sizes = [(1, 1), (7, 300), (224, 224), (w // 3 + 1, h // 5 + 1), (w, h // 2), (w + 37, h + 11),
                 tuple(int(v) for v in rng.randint(1, 700, 2))]
        for size in sizes if i % 8 == 0 else sizes[-2:]:
            for name, f in FILTERS.items():
                rows[name].add(tool("resize", p, *size, name), pixels(two_passes(rgb, size, f)), (p, size))
        rows["clip"].add(tool("clip", p, 224, "crop"), clip_reference(rgb, 224, False), p)
        rows["squash"].add(tool("clip", p, 224, "squash"), clip_reference(rgb, 224, True), p)
        if i % 4 == 0:
            rows["sam"].add(tool("sam", p, 1024), sam_reference(rgb, 1024), p)
    try:
        import cv2
        for sw, sh, dw, dh in [(14, 14, 224, 224), (14, 14, 501, 333), (7, 3, 100, 99), (256, 256, 1024, 1024),
                               (1024, 768, 300, 200), (1, 1, 5, 5), (1, 9, 31, 2), (500, 500, 500, 500), (100, 100, 50, 50)]:
            m = rng.rand(sh, sw).astype(np.float32)
            ref = cv2.resize(m, (dw, dh), interpolation=cv2.INTER_LINEAR)
            rows["map"].add(tool("map", sw, sh, dw, dh, data=m.tobytes()), ref.reshape(dh, dw, 1), (sw, sh, dw, dh))
    except ImportError:
        print("no cv2: maps not compared", file=sys.stderr)
    print("| what | cases | largest difference |\n|---|---|---|")
    good = [r.show() for r in rows.values() if r.n]
    speed(tool)
    return 0 if all(good) else 1


def speed(tool):
    """4000 x 3000 RGB, best of 5, one thread each."""
    im = Image.fromarray(np.random.RandomState(1).randint(0, 256, (3000, 4000, 3), np.uint8))
    path = "/tmp/mcs_parity_%d.png" % os.getpid()
    im.save(path, compress_level=1)
    im.load()
    print("\n| 4000 x 3000 to | Pillow ms | ours ms |\n|---|---|---|")
    for size, name in [((1024, 768), "bilinear"), ((299, 224), "bicubic"), ((224, 224), "bilinear"),
                       ((2000, 1500), "bicubic"), ((1024, 768), "nearest")]:
        best = 1e9
        for _ in range(5):
            t = time.perf_counter()
            im.resize(size, FILTERS[name])
            best = min(best, (time.perf_counter() - t) * 1e3)
        print("| %s %s | %.1f | %.1f |" % (size, name, best, tool("time", path, *size, name, 5)[0, 0, 0]))
    os.unlink(path)


if __name__ == "__main__":
    sys.exit(main())
