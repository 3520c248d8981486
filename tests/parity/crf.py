"""Dense CRF against pydensecrf: 50 pictures at random sizes under synthetic saliency.

Needs pydensecrf (or pydensecrf2), opencv-python, numpy.  Prints the table lines of
docs/numerics.md; exits 1 if fewer than 99.9 % of the pixels of any picture agree."""
import glob
import os
import sys
import time

import cv2
import numpy as np
import pydensecrf.densecrf as dcrf

from native import DATA, Native


def reference(grey, rgb, iterations):
    h, w = grey.shape
    start = time.process_time()
    a, eps, tau = grey / 255.0, 1e-8, 1.05
    sig = lambda x: 1 / (1 + np.exp(-x))
    u = np.stack([-np.log(1 - a + eps) / (tau * sig(1 - a)), -np.log(a + eps) / (tau * sig(a))])
    d = dcrf.DenseCRF2D(w, h, 2)
    d.setUnaryEnergy(u.reshape(2, -1).astype(np.float32))
    d.addPairwiseGaussian(sxy=3, compat=3)
    d.addPairwiseBilateral(sxy=60, srgb=5, rgbim=rgb, compat=5)
    q = np.array(d.inference(iterations))
    return q.argmax(0).reshape(h, w), q[1].reshape(h, w), time.process_time() - start


def ours(tool, grey, rgb, iterations, threads):
    h, w = grey.shape
    tool.ask("crf", w, h, iterations, threads, data=(grey, rgb))
    mask = tool.take(np.uint8, w * h).reshape(h, w)
    return mask, tool.take(np.float32, w * h).reshape(h, w), tool.take(np.float64, 1)[0]


def saliency(r, w, h):
    y, x = np.mgrid[:h, :w]
    g = np.zeros((h, w))
    for _ in range(r.integers(1, 4)):
        s = r.uniform(.04, .2) * min(w, h)
        g = np.maximum(g, r.uniform(.3, 1) * np.exp(-((x - r.uniform(0, w)) ** 2 + (y - r.uniform(0, h)) ** 2) / (2 * s * s)))
    return (255 * g / g.max()).astype(np.uint8)


def pictures(count):
    images = os.path.join(DATA, "images", "**", "*")
    files = sorted(f for f in glob.glob(images, recursive=True) if f.endswith((".png", ".jpg")) and "mask" not in f.lower())
    for f in files[:: max(1, len(files) // count)][:count]:
        yield cv2.cvtColor(cv2.imread(f, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def main():
    tool, r = Native("cam_tool"), np.random.default_rng(0)
    for iterations in (1, 5):
        agree, worst, times = [], 0, np.zeros(2)
        for im in pictures(50):
            w, h = (int(v) for v in r.integers(150, 900, 2))
            rgb = np.ascontiguousarray(cv2.resize(im, (w, h)))
            grey = saliency(r, w, h)
            m, p, t1 = ours(tool, grey, rgb, iterations, 1)
            _, p2, _ = ours(tool, grey, rgb, iterations, 2)
            assert (p == p2).all(), "threads change the bits"
            ref, q, t = reference(grey, rgb, iterations)
            agree.append((m == ref).mean())
            worst = max(worst, float(np.abs(p - q).max()))
            times += t, t1
        n = len(agree)
        print(f"| {n} pictures, {iterations} iteration(s) | {min(agree):.6f} | {np.mean(agree):.6f} | {worst:.1e} "
              f"| {1e3 * times[0] / n:.0f} | {1e3 * times[1] / n:.0f} |")
        if min(agree) < 0.999:
            sys.exit("fewer than 99.9 % of the pixels agree")


if __name__ == "__main__":
    main()
