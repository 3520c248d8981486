"""Writes cam.safetensors: class activation maps of a tiny vision transformer, computed step by
step as the released gScoreCAM does, with PyTorch's autograd, interpolation and topk; and
cam_noise.safetensors: M2IB, RISE and EigenCAM of the same transformer of two blocks, with the noise
and the masks that they used."""
import os

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

HERE = os.path.dirname(os.path.abspath(__file__))
DIM, HEADS, PATCH, GRID, OUT, TEXTS, TOPK, SCALE = 12, 2, 4, 4, 6, 3, 5, 20.0
torch.manual_seed(7)
torch.set_num_threads(1)


def weights():
    r = lambda *s, k=0.4: k * torch.randn(*s)
    w = {"patch": r(DIM, 3, PATCH, PATCH, k=0.2), "cls": r(1, 1, DIM), "pos": r(1, 1 + GRID * GRID, DIM),
         "qkv": r(3 * DIM, DIM), "proj": r(DIM, DIM), "fc1": r(2 * DIM, DIM), "fc2": r(DIM, 2 * DIM),
         "head": r(OUT, DIM)}
    for n in ("norm1", "norm2", "norm"):
        w[n + ".w"], w[n + ".b"] = 1 + r(DIM), r(DIM, k=0.2)
    return w


def features(w, x, keep=None, rounds=1, probs=None, after=None):
    """keep: name of the layer whose output becomes the leaf that is returned as well.  rounds: how
    often the block is applied.  probs: a list that receives the attention probabilities.  after: a
    function of the first block's output that replaces it."""
    got = None

    def tap(name, t):
        nonlocal got
        if name != keep:
            return t
        got = t.detach().requires_grad_(True)
        return got

    ln = lambda n, t: F.layer_norm(t, (DIM,), w[n + ".w"], w[n + ".b"], 1e-6)
    t = F.conv2d(x, w["patch"], stride=PATCH).flatten(2).transpose(1, 2)
    t = torch.cat([w["cls"].expand(len(x), -1, -1), t], 1) + w["pos"]
    split = lambda a: a.reshape(len(x), -1, HEADS, DIM // HEADS).transpose(1, 2)
    for i in range(rounds):
        q, k, v = (tap("norm1", ln("norm1", t)) @ w["qkv"].T).chunk(3, -1)
        a = torch.softmax(split(q) @ split(k).transpose(2, 3) / (DIM // HEADS) ** 0.5, -1)
        if probs is not None:
            a = a.requires_grad_(True)
            a.retain_grad()
            probs.append(a)
        t = t + (a @ split(v)).transpose(1, 2).reshape(t.shape) @ w["proj"].T
        t = t + F.gelu(tap("norm2", ln("norm2", t)) @ w["fc1"].T) @ w["fc2"].T
        t = after(t) if after and i == 0 else t
    f = F.normalize(ln("norm", t)[:, 0] @ w["head"].T, dim=-1)
    return (f, got) if keep else f


def normalise(m):
    m = F.relu(m)
    m = m - m.min()
    return m / (1e-8 + m.max())


def grid(t):
    """(1, 1+N, C) without the class token -> (C, h, w)."""
    return t[0, 1:].T.reshape(DIM, GRID, GRID)


def scored(w, x, a, text, idx):
    u = F.interpolate(a[None], x.shape[2:], mode="bilinear", align_corners=True)[0]
    lo, hi = u.amin((1, 2), keepdim=True), u.amax((1, 2), keepdim=True)
    masks = (u - lo) / (hi - lo + 1e-6)
    with torch.no_grad():
        s = SCALE * features(w, x * masks[idx][:, None]) @ text
    v = torch.zeros(DIM)
    v[idx] = torch.nan_to_num(s)
    return normalise((torch.softmax(v, 0)[:, None, None] * a).sum(0))


def gradients(w, x, text, layer):
    f, leaf = features(w, x, layer)
    (SCALE * f[0] @ text).backward()
    return leaf.detach(), leaf.grad


def maps(w, x, text):
    out = {}
    for layer in ("norm1", "norm2"):
        acts, g = gradients(w, x, text, layer)
        a, gp, gc = grid(acts), grid(g), g[0, 0]
        every = torch.arange(DIM)
        out[layer + ".scorecam"] = scored(w, x, a, text, every)
        out[layer + ".gscorecam.cls"] = scored(w, x, a, text, torch.topk(gc, TOPK)[1])
        out[layer + ".gscorecam.official"] = scored(w, x, a, text, torch.topk(gp.mean((1, 2)), TOPK)[1])
        if layer == "norm2":
            assert not gp.any()
            out["norm2.gradcam.cls"] = normalise((gc[:, None, None] * a).sum(0))
            continue
        total = a.sum((1, 2), keepdim=True)
        out["norm1.gradcam"] = normalise((gp.mean((1, 2), keepdim=True) * a).sum(0))
        alpha = torch.where(gp != 0, gp**2 / (2 * gp**2 + total * gp**3 + 1e-6), torch.zeros(()))
        out["norm1.gradcam++"] = normalise(((F.relu(gp) * alpha).sum((1, 2), keepdim=True) * a).sum(0))
        out["norm1.xgradcam"] = normalise(((gp * a / (total + 1e-7)).sum((1, 2), keepdim=True) * a).sum(0))
        out["norm1.layercam"] = normalise((F.relu(gp) * a).sum(0))
    return out


def relevance(w, x, text):
    """Chefer et al. 2021, as their rollout over self-attention layers."""
    probs = []
    (features(w, x, rounds=2, probs=probs)[0] @ text).backward()
    r = torch.eye(1 + GRID * GRID)
    for a in probs:
        r = r + (a.grad * a)[0].clamp(min=0).mean(0).detach() @ r
    return normalise(r[0, 1:].reshape(GRID, GRID))


def keep_scan(w, x, text, radii):
    side, total = PATCH * GRID, torch.zeros(GRID, GRID)
    y, z = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    for radius in radii:
        for i in range(GRID):
            for j in range(GRID):
                d = ((y - (i + .5) * PATCH + .5) ** 2 + (z - (j + .5) * PATCH + .5) ** 2).sqrt()
                total[i, j] += features(w, x * torch.sigmoid(8 * (1 - d / radius)))[0] @ text
    return normalise(total - total.min())


def m2ib(w, x, text, noise, beta, lr):
    """The bottleneck of MedCLIP-SAMv2 (scripts/iba.py) after the first of two blocks, for given noise
    (steps, samples, tokens, channels), in the precision of its arguments."""
    alpha = torch.full_like(noise[:1, 0], 5).requires_grad_(True)
    adam = torch.optim.Adam([alpha], lr=lr)
    for e in noise:
        kept = []

        def bottleneck(t):
            lam = torch.sigmoid(alpha).expand_as(t)
            mean, var = t * lam, (1 - lam) ** 2
            kept.append(-0.5 * (1 + torch.log(var) - mean ** 2 - var))
            return mean + var.sqrt() * e

        adam.zero_grad()
        f = features(w, x.expand(len(e), -1, -1, -1), rounds=2, after=bottleneck)
        (beta * kept[0].mean() - F.cosine_similarity(f, text[None], eps=1e-6).mean()).backward()
        adam.step()
    return normalise(torch.nansum(kept[0].detach().mean(0), -1)[1:].reshape(GRID, GRID))


def eigencam(a):
    """a: (C, h, w)."""
    m = a.flatten(1).T
    m = m - m.mean(0)
    p = m @ torch.linalg.svd(m)[2][0]
    return normalise((p * p[p.abs().argmax()].sign()).reshape(a.shape[1:]))


def rise(w, x, text, cells, offsets, keep, centred):
    """As generate_masks() of the authors' code, bilinear with half-pixel centres; averaged over patches."""
    side, grid = x.shape[-1], cells.shape[-1]
    cell = -(-side // grid)
    up = F.interpolate(cells[:, None].to(x), ((grid + 1) * cell,) * 2, mode="bilinear")[:, 0]
    masks = torch.stack([u[y:y + side, z:z + side] for u, (y, z) in zip(up, offsets.tolist())])
    score = features(w, x * masks[:, None], rounds=2) @ text
    score = score - score.mean() if centred else score
    sal = (score[:, None, None] * masks).sum(0) / len(masks) / keep
    sal = F.avg_pool2d(sal[None], PATCH)[0]
    return normalise(sal - sal.min())


def noisy_maps(w, x, text):
    g = torch.Generator().manual_seed(11)
    tokens = 1 + GRID * GRID
    noise = torch.randn(8, 3, tokens, DIM, generator=g)
    cells = (torch.rand(50, 3, 3, generator=g) < 0.4).to(torch.uint8)
    offsets = torch.randint(0, 6, (50, 2), generator=g)
    w, x, text = {k: v.double() for k, v in w.items()}, x.double(), text.double()
    out = {"noise": noise, "cells": cells, "offsets": offsets}
    for beta, lr in ((0.1, 1.0), (2.0, 1.0), (0.5, 0.3)):
        out[f"map.m2ib.{beta}.{lr}"] = torch.stack([m2ib(w, x, t, noise.double(), beta, lr) for t in text])
    for centred in (False, True):
        out["map.rise" + (".centred" if centred else "")] = torch.stack(
            [rise(w, x, t, cells, offsets, 0.4, centred) for t in text])
    for layer in ("norm1", "norm2"):
        out["map.eigencam." + layer] = eigencam(grid(features(w, x, layer)[1].detach()))[None]
    return {k: v.float() if v.is_floating_point() else v for k, v in out.items()}


def topk_ties():
    """The sets PyTorch chooses among ties: rows of (n, k, distinct values, seed), and the sets."""
    cases, chosen = [], []
    for n, k, levels in ((768, 300, 1), (48, 20, 1), (128, 50, 1), (12, 5, 1), (4, 2, 1), (768, 300, 3), (97, 30, 2),
                         (200, 64, 5), (33, 32, 4), (768, 300, 17), (501, 77, 40), (768, 300, 1009)):
        v = torch.tensor([((i * 2654435761) % 2**32 >> 9) % 1009 % levels for i in range(n)], dtype=torch.float32)
        s = torch.zeros(768, dtype=torch.uint8)
        s[torch.topk(v, k)[1]] = 1
        cases.append([n, k, levels])
        chosen.append(s)
    return torch.tensor(cases), torch.stack(chosen)


if __name__ == "__main__":
    w = weights()
    x = torch.randn(1, 3, PATCH * GRID, PATCH * GRID)
    text = F.normalize(torch.randn(TEXTS, OUT), dim=-1)
    each = [maps(w, x, t) for t in text]
    out = {"w." + k: v for k, v in w.items()}
    out.update({"image": x, "text": text})
    out.update({"map." + k: torch.stack([e[k] for e in each]) for k in each[0]})
    out["map.relevance"] = torch.stack([relevance(w, x, t) for t in text])
    out["map.scan"] = torch.stack([keep_scan(w, x, t, (3.0, 5.5)) for t in text])
    out["ties.case"], out["ties.chosen"] = topk_ties()
    save_file({k: v.contiguous() for k, v in out.items()}, os.path.join(HERE, "cam.safetensors"))
    noisy = noisy_maps(w, x, text)
    save_file({k: v.contiguous() for k, v in noisy.items()}, os.path.join(HERE, "cam_noise.safetensors"))
