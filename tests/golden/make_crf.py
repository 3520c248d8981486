"""Writes crf.safetensors (pydensecrf) and contours.safetensors (cv2)."""
import os

import cv2
import numpy as np
import pydensecrf.densecrf as dcrf
from safetensors.numpy import save_file

HERE = os.path.dirname(os.path.abspath(__file__))


def saliency_energies(grey):
    a, eps, tau = grey / 255.0, 1e-8, 1.05
    sig = lambda x: 1 / (1 + np.exp(-x))
    u = np.stack([-np.log(1 - a + eps) / (tau * sig(1 - a)), -np.log(a + eps) / (tau * sig(a))])
    return u.reshape(2, -1).astype(np.float32)


def scattered(t, name, n, labels, terms, iterations, seed):
    r = np.random.default_rng(seed)
    u = (2 * r.random((labels, n))).astype(np.float32)
    d = dcrf.DenseCRF(n, labels)
    d.setUnaryEnergy(u)
    for k, (dim, spread, compat) in enumerate(terms):
        f = (spread * r.standard_normal((n, dim))).astype(np.float32)
        d.addPairwiseEnergy(np.ascontiguousarray(f.T), compat)
        t[f"{name}.feature.{k}"] = f
    t[f"{name}.unary"] = np.ascontiguousarray(u.T)
    t[f"{name}.q"] = np.ascontiguousarray(np.array(d.inference(iterations)).T)


def picture(t, w, h, seed):
    r = np.random.default_rng(seed)
    y, x = np.mgrid[:h, :w]
    disc = (x - .6 * w) ** 2 + (y - .4 * h) ** 2 < (.3 * h) ** 2
    rgb = np.where(disc[..., None], [180, 170, 160], [60, 70, 80]) + r.integers(-12, 13, (h, w, 3))
    rgb = np.ascontiguousarray(rgb.astype(np.uint8))
    g = np.exp(-((x - .5 * w) ** 2 + (y - .5 * h) ** 2) / (2 * (.25 * h) ** 2))
    grey = (255 * g).astype(np.uint8)
    d = dcrf.DenseCRF2D(w, h, 2)
    d.setUnaryEnergy(saliency_energies(grey))
    d.addPairwiseGaussian(sxy=3, compat=3)
    d.addPairwiseBilateral(sxy=60, srgb=5, rgbim=rgb, compat=5)
    q = np.array(d.inference(1))
    t["picture.rgb"], t["picture.map"] = rgb, (grey / 255).astype(np.float32)
    t["picture.prob"] = np.ascontiguousarray(q[1].reshape(h, w))
    t["picture.mask"] = q.argmax(0).reshape(h, w).astype(np.uint8)


def contours(count):
    """Masks (count, h, w) and what cv2 says of each: the published box, all boxes, areas."""
    r = np.random.default_rng(5)
    h, w = 19, 23
    masks, boxes, every = np.zeros((count, h, w), np.uint8), [], []
    for i, m in enumerate(masks):
        if i % 2:
            m[:] = cv2.GaussianBlur(r.random((h, w)).astype(np.float32), (0, 0), r.uniform(.5, 2)) > .5
        else:
            m[:] = r.random((h, w)) < r.uniform(.1, .9)
        cs, tree = cv2.findContours(m, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
        x, y, bw, bh = cv2.boundingRect(max(cs, key=cv2.contourArea))
        boxes.append([x, y, min(x + bw, w - 1), min(y + bh, h - 1)])
        for k, c in enumerate(cs):
            depth, p = 0, tree[0][k][3]
            while p >= 0:
                depth, p = depth + 1, tree[0][p][3]
            every.append([i, *cv2.boundingRect(c), depth % 2, 0 if depth % 2 else 2 * cv2.contourArea(c)])
    return {"mask": masks, "box": np.array(boxes, np.int64), "contour": np.array(every, np.int64)}


if __name__ == "__main__":
    t = {}
    scattered(t, "two", 103, 2, [(2, 4.0, 3.0), (5, 1.0, 5.0)], 1, 1)
    scattered(t, "three", 61, 3, [(1, 2.0, 1.5), (3, 1.0, 2.0)], 3, 2)
    scattered(t, "wide", 40, 5, [(7, 0.5, 2.0)], 2, 3)
    picture(t, 37, 29, 4)
    save_file(t, os.path.join(HERE, "crf.safetensors"))
    save_file(contours(30), os.path.join(HERE, "contours.safetensors"))
