"""Writes metrics.safetensors: agreement of small masks as surface-distance, scikit-learn, MONAI and
SciPy measure it.  Rows of "flat.value" and "solid.value": NSD, HD95, HD, HD95 of pixels, AUC of the
mask, official region NSD (flat masks only).  Needs those packages."""
import warnings
import numpy as np
import torch
from scipy import ndimage, stats

for old in ("NaN", "Inf"):          # surface-distance 0.1 is older than NumPy 2
    setattr(np, old, getattr(np, old.lower()))
for old in ("filters", "morphology"):
    if not hasattr(ndimage, old):
        setattr(ndimage, old, ndimage)
import surface_distance.metrics as sd
from monai.metrics import compute_hausdorff_distance
from sklearn.metrics import roc_auc_score
from golden import write

warnings.simplefilter("ignore")

rng = np.random.default_rng(7)


def masks(shape, n):
    """Noise, blobs, then degenerate ones: pairs (truth, found)."""
    out = []
    for i in range(n):
        pair = []
        for _ in range(2):
            x = rng.normal(size=shape)
            x = ndimage.gaussian_filter(x, 1.5) if i % 3 else x
            pair.append(x > np.quantile(x, rng.uniform(0.3, 0.95)))
        out.append(tuple(pair))
    none, full, dot, row = (np.zeros(shape, bool) for _ in range(4))
    full[:] = True
    dot.flat[dot.size // 3] = True
    row[shape[0] - 1] = True
    kinds = [none, full, dot, row]
    return out + [(a, b) for a in kinds for b in kinds]


def values(a, b, spacing):
    d = sd.compute_surface_distances(a, b, spacing)
    if not a.any() and not b.any():
        v = [np.nan] * 3
    else:
        v = [sd.compute_surface_dice_at_tolerance(d, 1.5), sd.compute_robust_hausdorff(d, 95),
             sd.compute_robust_hausdorff(d, 100)]
    hd = compute_hausdorff_distance(torch.tensor(b)[None, None], torch.tensor(a)[None, None],
                                    include_background=True, percentile=95,
                                    spacing=[float(x) for x in spacing]).item()
    one_empty = a.any() != b.any()
    v.append(np.inf if one_empty else hd)     # MONAI's percentile of infinities is NaN
    v.append(roc_auc_score(a.ravel(), b.ravel()) if a.any() and not a.all() else np.nan)
    thin = [x[..., None] for x in (a, b)]
    official = np.nan
    if a.ndim == 2 and (a.any() or b.any()):
        official = sd.compute_surface_dice_at_tolerance(
            sd.compute_surface_distances(*thin, (1, 1, 1)), 2)
    return v + [official]


out = {}
for name, shape, n, spacings in (("flat", (11, 14), 30, [(1, 1), (0.7, 1.3)]),
                                 ("solid", (5, 6, 7), 12, [(1, 1, 1), (3, 0.5, 0.8)])):
    pairs = masks(shape, n)
    where = [spacings[i % len(spacings)] for i in range(len(pairs))]
    out[name + ".truth"] = torch.tensor(np.stack([a for a, _ in pairs]).astype(np.uint8))
    out[name + ".found"] = torch.tensor(np.stack([b for _, b in pairs]).astype(np.uint8))
    out[name + ".spacing"] = torch.tensor(np.array(where))
    out[name + ".value"] = torch.tensor(np.array([values(a, b, s)
                                                  for (a, b), s in zip(pairs, where)]))

score = np.round(rng.normal(size=(8, 60)), 1).astype(np.float32)
truth = rng.random((8, 60)) < 0.3
out["auc.score"] = torch.tensor(score)
out["auc.truth"] = torch.tensor(truth.astype(np.uint8))
out["auc.value"] = torch.tensor([roc_auc_score(t, s) for t, s in zip(truth, score)])

for n, digits in ((5, 9), (12, 1), (13, 9), (30, 9), (30, 1), (50, 9), (51, 9), (80, 2)):
    a, b = (np.round(rng.normal(size=n), digits) for _ in range(2))
    r = stats.wilcoxon(a, b)
    key = f"wilcoxon.{n}.{digits}"
    out[key] = torch.tensor(np.stack([a, b]))
    out[key + ".value"] = torch.tensor([r.statistic, r.pvalue])
write("metrics", out)
