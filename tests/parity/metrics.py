"""eval_seg against the packages that papers use: surface-distance, MONAI, scikit-learn, SciPy.

  python tests/parity/metrics.py [--count 1000] [--volumes 60] [--tool tools/eval_seg]

Random pairs of masks (noise, blobs, shifted blobs, many sizes), all pairs of degenerate ones (empty,
full, a pixel, one at the corner, a row, a frame), volumes; spacing 1 and others; AUC of probabilities;
Wilcoxon and bootstrap of the whole set.  The tool reads PNG files and its CSV is compared."""
import argparse
import csv
import json
import pathlib
import subprocess
import tempfile
import warnings
import numpy as np
import torch
from PIL import Image
from scipy import ndimage, stats

for old in ("NaN", "Inf"):          # surface-distance 0.1 is older than NumPy 2
    setattr(np, old, getattr(np, old.lower()))
for old in ("filters", "morphology"):
    if not hasattr(ndimage, old):
        setattr(ndimage, old, ndimage)
import surface_distance.metrics as sd
from monai.metrics.utils import get_edge_surface_distance
from sklearn import metrics as sk

warnings.simplefilter("ignore")
rng = np.random.default_rng(20)
NAMES = ("DSC", "IoU", "NSD", "NSD_official_region", "HD95", "HD95_monai", "HD", "AUC", "Sensitivity",
         "Precision")


def mask(shape, kind):
    x = rng.normal(size=shape)
    if kind == 0:
        return x > rng.uniform(-1.5, 2)
    x = ndimage.gaussian_filter(x, rng.uniform(0.5, 5))
    return x > np.quantile(x, rng.uniform(0.3, 0.99))


def pair(i, dims):
    shape = tuple(rng.integers(1, 12 if dims == 3 else 72, dims))
    a = mask(shape, i % 3)
    if i % 3 == 2:
        return a, ndimage.shift(a.astype(float), rng.integers(-4, 5, dims), order=0) > 0.5
    return a, mask(shape, i % 3)


def degenerate(shape=(19, 23)):
    z = lambda: np.zeros(shape, bool)
    none, dot, corner, row, frame = z(), z(), z(), z(), z()
    dot[9, 11] = corner[0, -1] = True
    row[7] = True
    frame[[0, -1]] = True
    frame[:, [0, -1]] = True
    kinds = [none, dot, corner, row, frame, ~z()]
    return [(a, b) for a in kinds for b in kinds]


def monai_hd95(a, b, spacing):
    """compute_hausdorff_distance(percentile=95), but the percentile in double precision."""
    if a.any() != b.any() or not a.any():
        return np.nan
    _, distances, _ = get_edge_surface_distance(torch.tensor(b), torch.tensor(a), symmetric=True,
                                                spacing=[float(s) for s in spacing])
    return max(np.percentile(d.double().numpy(), 95) for d in distances)


def reference(a, b, prob, spacing, tolerance):
    d = sd.compute_surface_distances(a, b, spacing)
    some = a.any() or b.any()
    both = a.any() and b.any()
    official = np.nan
    if a.ndim == 2 and some:
        thin = sd.compute_surface_distances(a[..., None], b[..., None], (1, 1, 1))
        official = sd.compute_surface_dice_at_tolerance(thin, tolerance)
    x, y = a.ravel(), b.ravel()
    return [sd.compute_dice_coefficient(a, b),
            sk.jaccard_score(x, y) if some else np.nan,
            sd.compute_surface_dice_at_tolerance(d, tolerance) if some else np.nan,
            official,
            sd.compute_robust_hausdorff(d, 95) if both else np.nan,
            monai_hd95(a, b, spacing),
            sd.compute_robust_hausdorff(d, 100) if both else np.nan,
            sk.roc_auc_score(x, prob.ravel()) if x.any() and not x.all() else np.nan,
            sk.recall_score(x, y) if a.any() else np.nan,
            sk.precision_score(x, y) if b.any() else np.nan]


def save(folder, name, x):
    if x.ndim == 2:
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(x.astype(np.uint8) * 255 if x.dtype == bool else x).save(folder / f"{name}.png")
    else:
        for k, s in enumerate(x):
            save(folder / name, f"s{k}", s)


def run(tool, folder, spacing, tolerance, flat, extra=()):
    names = [n for n in NAMES if flat or n != "NSD_official_region"]
    subprocess.run([tool, "--gt", folder / "gt", "--seg", folder / "seg", "--prob", folder / "prob",
                    "-o", folder / "m.csv", "--metrics", ",".join(n.lower() for n in names), "-q",
                    "--labels", "binary", "--progress", "off", "--nsd-tolerance", str(tolerance),
                    "--spacing", ",".join(str(s) for s in spacing[::-1]), *extra,
                    *([] if flat else ["--volumes", "subfolders"])],
                   check=True, stdout=subprocess.DEVNULL)
    with open(folder / "m.csv") as f:
        rows = {r["Name"]: r for r in csv.DictReader(f)}
    return names, rows


class Tally:
    def __init__(self):
        self.worst = dict.fromkeys(NAMES, 0.0)
        self.bad = self.compared = 0

    def add(self, what, name, ours, theirs):
        self.compared += 1
        if np.isnan(ours) and np.isnan(theirs):
            return
        error = abs(ours - theirs) / max(1, abs(theirs))
        if not error <= 1e-6:
            self.bad += 1
            print(f"{what} {name}: {ours} here, {theirs} there")
        else:
            self.worst[name] = max(self.worst[name], error)


def compare(tool, folder, pairs, spacing, tolerance, tally):
    flat = pairs[0][0].ndim == 2
    probs = []
    for i, (a, b) in enumerate(pairs):
        # scores with many ties, better than chance
        p = (40 * b + rng.integers(0, 60 if i % 2 else 256, a.shape)).clip(0, 255).astype(np.uint8)
        probs.append(p)
        for side, x in (("gt", a), ("seg", b), ("prob", p)):
            save(folder / side, f"{i:05d}", x)
    names, rows = run(tool, folder, spacing, tolerance, flat)
    for i, (a, b) in enumerate(pairs):
        want = dict(zip(NAMES, reference(a, b, probs[i], spacing, tolerance)))
        for n in names:
            tally.add(f"{folder.name} {i} {a.shape}", n, float(rows[f"{i:05d}"][n]), want[n])
    return rows


def split_mix(seed, count):
    s = np.uint64(seed) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    s = (s ^ (s >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    s = (s ^ (s >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return s ^ (s >> np.uint64(31))


def whole_set(tool, folder, count):
    """The set's statistics, with a second method: the truth itself moved by a pixel."""
    for i in range(count):
        a = np.array(Image.open(folder / "gt" / f"{i:05d}.png")) > 0
        save(folder / "other", f"{i:05d}", np.roll(a, 1, 0))
    names, rows = run(tool, folder, (1, 1), 2, True, ["--compare", folder / "other", "--seed", "5"])
    report = json.loads((folder / "m.json").read_text())
    seg = np.array([[float(rows[f"{i:05d}"][n]) for n in names] for i in range(count)])
    _, rows = run(tool, folder, (1, 1), 2, True, ["--seg", folder / "other"])
    other = np.array([[float(rows[f"{i:05d}"][n]) for n in names] for i in range(count)])
    bad = 0
    for k, n in enumerate(names):
        if n == "AUC":      # of probabilities there, of the mask here
            continue
        v = seg[:, k][~np.isnan(seg[:, k])]
        draws = v[(split_mix(5, 2000 * len(v)) % np.uint64(len(v))).astype(int)].reshape(2000, -1)
        low, high = np.percentile(draws.mean(1), [2.5, 97.5])
        both = ~np.isnan(seg[:, k] - other[:, k])
        p = stats.wilcoxon(seg[both, k], other[both, k]).pvalue
        got, pairs = report["labels"]["foreground"][n], report["compare"][n]
        ours = [got["mean"], got["std"], *got["interval95"], got["median"], pairs["wilcoxon_p"]]
        want = [v.mean(), v.std(ddof=1), low, high, np.median(v), p]
        error = max(abs(x - y) / max(1, abs(y)) for x, y in zip(ours, want))
        bad += not error <= 1e-6
        print(f"{n:20s} mean, std, interval, median, p: largest difference {error:.1e}")
    return bad


def main():
    q = argparse.ArgumentParser()
    q.add_argument("--count", type=int, default=1000)
    q.add_argument("--volumes", type=int, default=60)
    q.add_argument("--tool", default="tools/eval_seg")
    o = q.parse_args()
    tally = Tally()
    with tempfile.TemporaryDirectory() as t:
        t = pathlib.Path(t)
        half = [pair(i, 2) for i in range(o.count // 2)]
        compare(o.tool, t / "flat", half, (1, 1), 2, tally)
        bad = whole_set(o.tool, t / "flat", len(half))
        half = [pair(i, 2) for i in range(o.count - o.count // 2)]
        compare(o.tool, t / "spaced", half, (0.7, 1.3), 1.5, tally)
        edge = degenerate()
        compare(o.tool, t / "degenerate", edge, (1, 1), 2, tally)
        solid = [pair(i, 3) for i in range(o.volumes)]
        compare(o.tool, t / "solid", solid, (3, 0.5, 0.8), 1.5, tally)
    print(f"{o.count} random and {len(edge)} degenerate pairs, {o.volumes} volumes: "
          f"{tally.compared} values, {tally.bad} differ by more than 1e-6")
    for n, e in tally.worst.items():
        print(f"{n:20s} largest difference {e:.1e}")
    raise SystemExit(1 if tally.bad or bad else 0)


if __name__ == "__main__":
    main()
