"""Writes losses.safetensors: the losses of losses.h in float64 PyTorch, values and gradients.

The contrastive losses are transcribed from the formulas of the papers with plain sums and no
rearrangement, so that autograd checks both the stable form and the hand-written gradient."""
import pathlib
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

out = {}


def contrastive(I, T, s, kind, b1, b2, alpha, mask, fixed):
    B = I.shape[0]
    l = s * I @ T.t()
    neg = mask & ~torch.eye(B, dtype=torch.bool)
    if kind == "infonce":
        allowed = neg | torch.eye(B, dtype=torch.bool)
        def ce(x, a):
            return (x.masked_fill(~a, -torch.inf).logsumexp(1) - x.diagonal()).mean()
        return (ce(l, allowed) + ce(l.t(), allowed.t())) / 2
    total = 0.0
    for x, n, beta in ((l, neg, b1), (l.t(), neg.t(), b2)):
        rows = []
        for i in range(B):
            v = x[i][n[i]]
            if v.numel() == 0:
                continue
            w = v.numel() * torch.softmax(beta * v, 0)
            if kind == "dcl":
                w = torch.ones_like(v)
            if fixed:
                w = w.detach()
            logneg = torch.logsumexp(v + torch.log(w), 0)
            if kind == "hn" and alpha > 0:
                logneg = torch.logaddexp(x[i, i] + torch.log(torch.tensor(alpha, dtype=x.dtype)), logneg)
            rows.append(-x[i, i] + logneg)
        total = total + sum(rows) / B
    return total


def official(I, T, s, b1, b2):
    """The released element-wise code: logits masked by multiplication before exp."""
    B = I.shape[0]
    l = s * I @ T.t()
    eye = torch.eye(B, dtype=l.dtype)
    off = 1 - eye
    pos = torch.exp(l * eye)
    loss = 0.0
    for x, beta in ((l, b1), (l.t(), b2)):
        negs = torch.exp(x * off)
        z = negs.sum(1)
        reweight = (B - 1) * torch.exp(beta * x * off) / z
        loss = loss + (-torch.log(pos / (negs * reweight))).mean()
    return loss


def case(name, B, kind, temperature, b1=0.15, b2=0.15, alpha=0.0, masked=False, fixed=False):
    g = torch.Generator().manual_seed(B * 7 + len(name))
    I = F.normalize(torch.randn(B, 5, generator=g, dtype=torch.float64), dim=1).float().double().requires_grad_()
    T = F.normalize(torch.randn(B, 5, generator=g, dtype=torch.float64), dim=1).float().double().requires_grad_()
    s = torch.tensor(1 / temperature, dtype=torch.float64).float().double().requires_grad_()
    mask = torch.ones(B, B, dtype=torch.bool)
    if masked:
        mask = torch.rand(B, B, generator=g) > 0.3
        mask[1, :] = False
    if kind == "official":
        loss = official(I, T, s, b1, b2)
    else:
        loss = contrastive(I, T, s, kind, b1, b2, alpha, mask, fixed)
    loss.backward()
    for k, v in (("image", I), ("text", T), ("scale", s), ("loss", loss), ("dimage", I.grad),
                 ("dtext", T.grad), ("dscale", s.grad)):
        out[f"{name}.{k}"] = v.detach().float().contiguous()
    if masked:
        out[f"{name}.mask"] = mask.to(torch.uint8)


for B in (2, 3, 17, 64):
    for t in (0.6, 0.01):
        for kind in ("infonce", "dcl", "hn", "dhn", "official"):
            case(f"{kind}.{B}.{t}", B, kind, t, alpha=1.0 if kind == "hn" else 0.0)
case("dhn.masked", 17, "dhn", 0.1, 0.3, 0.5, masked=True)
case("infonce.masked", 17, "infonce", 0.1, masked=True)
case("dhn.fixed", 17, "dhn", 0.1, 0.3, 0.5, fixed=True)
case("hn.alpha", 17, "hn", 0.1, 0.3, 0.5, alpha=0.25)

x = torch.randn(3, 2, 5, 7, generator=torch.Generator().manual_seed(5), dtype=torch.float64) * 4
t = (torch.rand(3, 2, 5, 7, generator=torch.Generator().manual_seed(6)) > 0.6).double()
soft = torch.rand(3, 2, 5, 7, generator=torch.Generator().manual_seed(7)).double().float().double()
x = x.float().double()
labels = torch.randint(0, 2, (3, 5, 7), generator=torch.Generator().manual_seed(8))


def pixel(name, fn, target):
    y = x.clone().requires_grad_()
    loss = fn(y)
    loss.backward()
    out[f"{name}.logits"], out[f"{name}.target"] = x.float(), target
    out[f"{name}.loss"], out[f"{name}.grad"] = loss.detach().float(), y.grad.float()


def dice(y, target, smooth):
    p, q = torch.sigmoid(y).flatten(1), target.flatten(1)
    return (1 - (2 * (p * q).sum(1) + smooth) / (p.sum(1) + q.sum(1) + smooth)).mean()


def focal(y, target, alpha, gamma):
    ce = F.binary_cross_entropy_with_logits(y, target, reduction="none")
    p = torch.sigmoid(y)
    pt = p * target + (1 - p) * (1 - target)
    w = alpha * target + (1 - alpha) * (1 - target) if alpha >= 0 else 1
    return (w * (1 - pt) ** gamma * ce).mean()


pixel("bce", lambda y: F.binary_cross_entropy_with_logits(y, soft), soft.float())
pixel("dice", lambda y: dice(y, t, 1.0), t.float())
pixel("focal", lambda y: focal(y, t, 0.25, 2.0), t.float())
pixel("focal_plain", lambda y: focal(y, t, -1, 1.5), t.float())
pixel("cross_entropy", lambda y: F.cross_entropy(y, labels), labels)
save_file(out, pathlib.Path(__file__).with_name("losses.safetensors"))

# Optimisers: weights after each of four steps from given gradients.
opt = {}
g = torch.Generator().manual_seed(9)
w0, b0 = torch.randn(3, 5, generator=g), torch.randn(5, generator=g)
grads = [(torch.randn(3, 5, generator=g), torch.randn(5, generator=g)) for _ in range(4)]
opt["w"], opt["b"] = w0, b0
for i, (gw, gb) in enumerate(grads):
    opt[f"gw.{i}"], opt[f"gb.{i}"] = gw, gb


def run(name, make, clip=None):
    w, b = w0.clone().requires_grad_(), b0.clone().requires_grad_()
    optim = make([{"params": [w], "weight_decay": 0.1}, {"params": [b], "weight_decay": 0.0}])
    for i, (gw, gb) in enumerate(grads):
        w.grad, b.grad = gw.clone(), gb.clone()
        if clip:
            torch.nn.utils.clip_grad_norm_([w, b], clip)
        optim.step()
        opt[f"{name}.w.{i}"], opt[f"{name}.b.{i}"] = w.detach().clone(), b.detach().clone()


run("adamw", lambda p: torch.optim.AdamW(p, lr=1e-2, betas=(0.9, 0.98), eps=1e-6))
run("clip", lambda p: torch.optim.AdamW(p, lr=1e-2, betas=(0.9, 0.98), eps=1e-6), clip=1.0)
run("sgd", lambda p: torch.optim.SGD(p, lr=1e-2, momentum=0.9))
run("nesterov", lambda p: torch.optim.SGD(p, lr=1e-2, momentum=0.9, nesterov=True))
save_file(opt, pathlib.Path(__file__).with_name("optim.safetensors"))
