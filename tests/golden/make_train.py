"""Golden file of training: ten AdamW steps of the tiny BiomedCLIP of make_clip.py in PyTorch.

Start is clip_tiny.safetensors; the batch of step t is wave(100 + t) and the captions of
clip_tiny_out.safetensors, rolled by t.  Writes, beside this file:
  train_losses.safetensors         ids, and the losses of every setting
  train_weights{1,2}.safetensors   the weights after ten steps of the first setting
All is computed in double precision."""
import os
import sys

import torch
from safetensors.torch import load_file, save_file

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from make_clip import Clip, wave  # noqa: E402

B, STEPS = 6, 10


def dhn_nce(image, text, scale, beta=0.15):
    n = torch.nn.functional.normalize
    l = scale * n(image, dim=-1) @ n(text, dim=-1).T
    off = ~torch.eye(B, dtype=torch.bool)
    total = 0
    for x in (l, l.T):
        for i in range(B):
            v = x[i][off[i]]
            w = (B - 1) * torch.softmax(beta * v, 0)
            total = total - x[i, i] + torch.log((torch.exp(v) * w).sum())
    return total / B


def info_nce(image, text, scale):
    n = torch.nn.functional.normalize
    l = scale * n(image, dim=-1) @ n(text, dim=-1).T
    y = torch.arange(B)
    return (torch.nn.functional.cross_entropy(l, y) + torch.nn.functional.cross_entropy(l.T, y)) / 2


def run(ids, loss_fn, learned, lock):
    with open(os.path.join(HERE, "tokens_vocab.txt"), encoding="utf-8") as f:
        model = Clip(len(f.readlines())).eval()
    state = load_file(os.path.join(HERE, "clip_tiny.safetensors"))
    missing, unexpected = model.load_state_dict({k: v.float() for k, v in state.items()}, strict=False)
    assert not unexpected and all("pooler" in k or "position_ids" in k for k in missing), missing
    model.double()
    for name, p in model.named_parameters():
        if "pooler" in name or (not learned and name == "logit_scale") or (lock and lock(name)):
            p.requires_grad_(False)
    named = [(k, p) for k, p in model.named_parameters() if p.requires_grad]
    opt = torch.optim.AdamW([
        {"params": [p for k, p in named if p.ndim >= 2], "weight_decay": 0.1},
        {"params": [p for k, p in named if p.ndim < 2], "weight_decay": 0.0}],
        lr=2e-3, betas=(0.9, 0.98), eps=1e-6)
    losses = []
    for t in range(STEPS):
        image, text, _ = model(wave((B, 3, 18, 18), 100 + t) * 4, ids.roll(t, 0))
        scale = model.logit_scale.exp() if learned else 1 / 0.6
        loss = loss_fn(image, text, scale)
        opt.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_([p for _, p in named], 1.0)
        opt.step()
        losses.append(loss.detach())
    return torch.stack(losses), {k: v for k, v in model.state_dict().items() if k in state}


def locked(name):
    """--lock-image --lock-image-unlocked-groups 1 --lock-text --lock-text-unlocked-layers 1"""
    if name.startswith("visual.trunk."):
        return not name.startswith(("visual.trunk.blocks.1.", "visual.trunk.norm."))
    return name.startswith("text.transformer.") and ".layer.1." not in name and "LayerNorm" not in name


def save(name, tensors):
    path = os.path.join(HERE, name + ".safetensors")
    save_file({k: v.contiguous().clone() for k, v in tensors.items()}, path)
    os.chmod(path, 0o644)
    print(name, os.path.getsize(path))
    assert os.path.getsize(path) < 65536


def main():
    base = load_file(os.path.join(HERE, "clip_tiny_out.safetensors"))["ids"]
    ids = torch.zeros(B, base.shape[1], dtype=torch.int64)
    ids[:3] = base
    for i in range(3):  # three more captions: words of the others in another order
        words = base[i][(base[i] > 4)].flip(0)
        ids[3 + i, 0] = base[i, 0]
        ids[3 + i, 1:1 + len(words)] = words
        ids[3 + i, 1 + len(words)] = base[i][base[i] != 0][-1]
    dhn, weights = run(ids, dhn_nce, False, None)
    info, _ = run(ids, info_nce, True, None)
    lock, _ = run(ids, dhn_nce, False, locked)
    save("train_losses", {"ids": ids, "dhn": dhn.float(), "info": info.float(), "lock": lock.float()})
    for i, head in enumerate(("text.", "visual.")):
        save("train_weights%d" % (i + 1), {k: v.float() for k, v in weights.items() if k.startswith(head)})
    print(dhn, info, lock)


if __name__ == "__main__":
    main()
