"""Components, contours, boxes and thresholds against OpenCV and scikit-learn on random masks.

Needs opencv-python, numpy, scikit-learn.  Prints counts; exits 1 on the first difference."""
import sys
import time

import cv2
import numpy as np
from sklearn.cluster import KMeans

from native import Native


def random_mask(r, i):
    h, w = (int(v) for v in r.integers(1, 40, 2))
    m = r.random((h, w)) < r.random()
    if i % 3 == 0:
        m = cv2.GaussianBlur(r.random((h, w)).astype(np.float32), (0, 0), r.uniform(.5, 4)) > .5
    m = m.astype(np.uint8)
    return np.ascontiguousarray(np.kron(m, np.ones((2, 2), np.uint8))) if i % 7 == 0 else m


def cv_contours(m):
    cs, tree = cv2.findContours(m, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
    rows = []
    for k, c in enumerate(cs):
        depth, p = 0, tree[0][k][3]
        while p >= 0:
            depth, p = depth + 1, tree[0][p][3]
        x, y, w, h = cv2.boundingRect(c)
        rows.append((x, y, x + w - 1, y + h - 1, depth % 2, 0 if depth % 2 else int(2 * cv2.contourArea(c))))
    return cs, rows


def boxes(tool, m, mode):
    tool.ask("boxes", m.shape[1], m.shape[0], mode, data=(m,))
    n = tool.take(np.int32, 1)[0]
    return [tuple(b) for b in tool.take(np.int32, 4 * n).reshape(n, 4).tolist()]


def parts(tool, m):
    tool.ask("parts", m.shape[1], m.shape[0], data=(m,))
    n = tool.take(np.int32, 1)[0]
    rows = [tuple(p) for p in tool.take(np.int32, 6 * n).reshape(n, 6).tolist()]
    return rows, tool.take(np.float64, 1)[0]


def masks(tool, r, count):
    ties = 0
    for i in range(count):
        m = random_mask(r, i)
        h, w = m.shape
        cs, rows = cv_contours(m)
        box = lambda c: (lambda x, y, bw, bh: (x, y, min(x + bw, w - 1), min(y + bh, h - 1)))(*cv2.boundingRect(c))
        whole = [(0, 0, w, h)]
        chosen = [box(max(cs, key=cv2.contourArea))] if cs else whole
        areas = sorted(cv2.contourArea(c) for c in cs)
        ties += len(areas) > 1 and areas[-1] == areas[-2]
        u = [box(c) for c in cs]
        union = [(min(b[0] for b in u), min(b[1] for b in u), max(b[2] for b in u), max(b[3] for b in u))] if u else whole
        ok = (sorted(parts(tool, m)[0]) == sorted(rows) and boxes(tool, m, 0) == chosen and
              sorted(boxes(tool, m, 2)) == (sorted(u) or whole) and boxes(tool, m, 3) == union)
        if not ok:
            sys.exit(f"mask {i} differs")
    print(f"{count} masks: components, contour areas, holes and boxes equal; {ties} with tied areas")


def levels(tool, r, count):
    worst = 0
    for i in range(count):
        g = cv2.GaussianBlur(r.random((64, 64)).astype(np.float32), (0, 0), r.uniform(2, 12)) ** r.uniform(.5, 6)
        g = np.uint8(255 * (g - g.min()) / (g.max() - g.min()))
        tool.ask("levels", g.size, data=(g,))
        otsu, means = tool.take(np.float32, 2)
        t, ref = cv2.threshold(g, 0, 1, cv2.THRESH_OTSU)
        if not ((g / 255.0 > otsu) == ref).all():
            sys.exit(f"map {i}: Otsu {otsu * 255} against {t}")
        km = KMeans(2, random_state=10, n_init=10).fit((g / 255.0).reshape(-1, 1))
        fg = (km.labels_ == km.cluster_centers_.argmax()).reshape(g.shape)
        worst = max(worst, ((g / 255.0 > means) != fg).mean())
    print(f"{count} maps: Otsu equal; two-means differ from KMeans(2) in at most {100 * worst:.3f} % of the pixels")


def speed(tool, r):
    m = (r.random((2000, 2000)) < .5).astype(np.uint8)
    seconds = parts(tool, m)[1]
    start = time.process_time()
    cv2.findContours(m, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
    print(f"2000 x 2000 noise: {1e3 * seconds:.0f} ms, cv2.findContours {1e3 * (time.process_time() - start):.0f} ms")


if __name__ == "__main__":
    t, rng = Native("cam_tool"), np.random.default_rng(1)
    masks(t, rng, 3000)
    levels(t, rng, 50)
    speed(t, rng)
