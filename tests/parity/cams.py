"""Every saliency method on a full-size BiomedCLIP with random weights against PyTorch, on the same
noise and masks.

Needs torch, timm, transformers, safetensors.  About two minutes and 2 GB; methods may be named as
arguments (all of MAPS; gscorecam, scorecam and scan, many pictures, only when named: gscorecam.py has
gScoreCAM's own choices of channels).  Prints the table lines of
docs/numerics.md; exits 1 if a map differs by more than 1e-3.

XGrad-CAM divides by the sum of a channel over the patches.  At the last norm1 one of these random sums
is all but zero, and an error of 1e-6 in the activations moves the map by 1e-3 and more; so it is compared
at a layer without such a channel."""
import os
import subprocess
import sys
import tempfile
import time

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from gscorecam import SCALE, features, random_weights
from native import build

# method: (layer, what the C program is told)
BLOCK, NORM1, NORM2 = "blocks.9", "blocks.11.norm1", "blocks.11.norm2"
M2IB = (1.0, 1.0, 10, 2)  # beta, lr, steps, samples
RISE = (0.5, 24, 8)  # keep, masks, grid


def normalise(m):
    m = F.relu(m)
    m = m - m.min()
    return m / (1e-8 + m.max())


def watched(model, layer, text):
    """Activations and gradients (C, 14, 14) of the scaled score at a layer."""
    vit, proj, x = model
    kept = []
    hook = vit.get_submodule(layer).register_forward_hook(lambda m, i, o: kept.append(o) or o.retain_grad())
    (SCALE * features(vit, proj, x)[0] @ text).backward()
    hook.remove()
    grid = lambda t: t[0, 1:].T.reshape(-1, 14, 14)
    return grid(kept[0].detach()), grid(kept[0].grad)


def by_gradient(model, text, how, layer):
    a, g = (t.double() for t in watched(model, layer, text))
    total = a.sum((1, 2), keepdim=True)
    w = {"gradcam": lambda: g.mean((1, 2), keepdim=True),
         "gradcam++": lambda: (F.relu(g) * torch.where(
             g != 0, g**2 / (2 * g**2 + total * g**3 + 1e-6), torch.zeros(()).double())).sum((1, 2), keepdim=True),
         "xgradcam": lambda: (g * a / (total + 1e-7)).sum((1, 2), keepdim=True),
         "layercam": lambda: F.relu(g)}[how]()
    return normalise((w * a).sum(0)), [SCALE]


def by_scores(model, text, how, layer):
    vit, proj, x = model
    a, g = watched(model, layer, text)
    k = 768 if how == "scorecam" else 40
    idx = torch.topk(g.mean((1, 2)), k)[1]
    with torch.no_grad():
        u = F.interpolate(a[None], 224, mode="bilinear", align_corners=True)[0]
        lo, hi = u.amin((1, 2), keepdim=True), u.amax((1, 2), keepdim=True)
        u = (u - lo) / (hi - lo + 1e-6)
        v = torch.zeros(768)
        v[idx] = torch.cat([SCALE * features(vit, proj, x * u[i][:, None]) @ text for i in idx.split(20)])
        return normalise((torch.softmax(v, 0)[:, None, None] * a).sum(0)), [SCALE, k]


def by_eigencam(model, text, how, layer):
    a = watched(model, layer, text)[0].double()
    m = a.flatten(1).T
    m = m - m.mean(0)
    p = m @ torch.linalg.svd(m, full_matrices=False)[2][0]
    return normalise((p * p[p.abs().argmax()].sign()).reshape(14, 14)), []


def by_relevance(model, text, how, layer):
    vit, proj, x = model
    probs, hooks = [], []
    for b in vit.blocks:
        b.attn.fused_attn = False
        hooks.append(b.attn.attn_drop.register_forward_hook(lambda m, i, o: probs.append(o) or o.retain_grad()))
    (features(vit, proj, x)[0] @ text).backward()
    r = torch.eye(197)
    for a in probs:
        r = r + (a.grad * a)[0].clamp(min=0).mean(0).detach() @ r
    for h in hooks:
        h.remove()
    return normalise(r[0, 1:].reshape(14, 14)), []


def by_m2ib(model, text, how, layer):
    """MedCLIP-SAMv2's optimisation, in float32 as it is."""
    vit, proj, x = model
    beta, lr, steps, samples = M2IB
    noise = torch.randn(steps, samples, 197, 768, generator=torch.Generator().manual_seed(5))
    alpha = torch.full((1, 197, 768), 5.0, requires_grad=True)
    adam = torch.optim.Adam([alpha], lr=lr)
    kept = {}

    def bottleneck(module, args, out):
        lam = torch.sigmoid(alpha).expand_as(out)
        mean, var = out * lam, (1 - lam) ** 2
        kept["kl"] = -0.5 * (1 + torch.log(var) - mean**2 - var)
        return mean + var.sqrt() * noise[kept["step"]]

    hook = vit.get_submodule(layer).register_forward_hook(bottleneck)
    for kept["step"] in range(steps):
        adam.zero_grad()
        f = features(vit, proj, x.expand(samples, -1, -1, -1))
        (beta * kept["kl"].mean() - F.cosine_similarity(f, text[None], eps=1e-6).mean()).backward()
        adam.step()
    hook.remove()
    return normalise(torch.nansum(kept["kl"].detach().mean(0), -1)[1:].reshape(14, 14)), [*M2IB, *noise.flatten().tolist()]


def by_rise(model, text, how, layer):
    vit, proj, x = model
    keep, count, grid = RISE
    g = torch.Generator().manual_seed(6)
    cells = (torch.rand(count, grid, grid, generator=g) < keep).float()
    offsets = torch.randint(0, 224 // grid, (count, 2), generator=g)
    up = F.interpolate(cells[:, None], (grid + 1) * 224 // grid, mode="bilinear")[:, 0]
    masks = torch.stack([u[i:i + 224, j:j + 224] for u, (i, j) in zip(up, offsets.tolist())])
    with torch.no_grad():
        s = torch.cat([features(vit, proj, x * m[:, None]) @ text for m in masks.split(20)]).double()
    s = s - s.mean()
    sal = F.avg_pool2d(((s[:, None, None] * masks).sum(0) / count / keep)[None], 16)[0]
    return normalise(sal - sal.min()), [*RISE, 1.0, *cells.flatten().tolist(), *offsets.flatten().tolist()]


def by_scan(model, text, how, layer):
    vit, proj, x = model
    y, z = torch.meshgrid(torch.arange(224), torch.arange(224), indexing="ij")
    masks = torch.stack([torch.sigmoid(8 * (1 - ((y - 16 * i - 7.5) ** 2 + (z - 16 * j - 7.5) ** 2).sqrt() / 40))
                         for i in range(14) for j in range(14)])
    with torch.no_grad():
        s = torch.cat([features(vit, proj, x * m[:, None]) @ text for m in masks.split(14)]).reshape(14, 14)
    return normalise(s - s.min()), [40.0]


MAPS = {"gradcam": (by_gradient, NORM1), "gradcam++": (by_gradient, NORM1),
        "xgradcam": (by_gradient, "blocks.5.norm1"), "layercam": (by_gradient, NORM1), "eigencam": (by_eigencam, NORM2),
        "relevance": (by_relevance, NORM2), "m2ib": (by_m2ib, BLOCK), "rise": (by_rise, NORM2)}
SLOW = {"gscorecam": (by_scores, "blocks.9.norm2"), "scorecam": (by_scores, "blocks.9.norm2"), "scan": (by_scan, NORM2)}


def main():
    exe = build("cam_any")
    vit, proj, state = random_weights()
    for p in vit.parameters():
        p.requires_grad_(False)
    x = F.interpolate(torch.randn(1, 3, 14, 14), 224, mode="bicubic") + 0.2 * torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        text = F.normalize(features(vit, proj, x) + 0.05 * torch.randn(1, 512), dim=-1)[0]
        texts = [text, -text, *F.normalize(torch.randn(4, 512), dim=-1)]
    x.requires_grad_(True)  # so that hooks before the first weight have gradients
    bad = False
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "clip.safetensors")
        save_file(state, path)
        for how in sys.argv[1:] or MAPS:
            fn, layer = {**MAPS, **SLOW}[how]
            for text in texts:  # under random weights a map may well be empty
                start = time.process_time()
                ref, told = fn((vit, proj, x), text, how, layer)
                seconds = time.process_time() - start
                ref = ref.detach().float().numpy()
                if ref.mean() > 0.01:
                    break
            data = [x.detach().numpy(), text.numpy(), np.asarray(told, np.float32)]
            p = subprocess.run([exe, path, how, "visual.trunk." + layer], input=b"".join(d.tobytes() for d in data),
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            assert p.returncode == 0, p.stderr.decode()
            ours = np.frombuffer(p.stdout, np.float32).reshape(14, 14)
            assert ref.mean() > 0.01, "an empty map proves nothing"
            worst = np.abs(ours - ref).max()
            bad |= worst > 1e-3
            print(f"| {how}, {layer} | {worst:.1e} | {seconds:.1f} s | {p.stderr.decode().strip()} |", flush=True)
    if bad:
        sys.exit("a map differs by more than 1e-3")


if __name__ == "__main__":
    main()
