"""gScoreCAM of a full-size BiomedCLIP with random weights against the released algorithm in PyTorch.

Needs torch, timm, transformers, safetensors.  About two minutes and 2 GB.  The released mode runs with
its 300 channels, the others with 60.  Prints the table lines of
docs/numerics.md (for the modes named as arguments, or all); exits 1 if a map differs by more than 1e-3.

The reference takes the steps of the released code one by one: hook on blocks[11].norm2, backward,
mean of the patch gradients, topk on a CPU, UpsamplingBilinear2d, masks times the normalised picture,
batches of masked pictures, softmax over all 768 channels, ReLU, division by (1e-8 + max)."""
import os
import subprocess
import sys
import tempfile
import time

import numpy as np
import timm
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from transformers import BertConfig, BertModel

from native import build

SCALE = 85.0


def random_weights():
    """Vision tower at full size, a text tower too small to matter (it is not run)."""
    torch.manual_seed(3)
    vit = timm.create_model("vit_base_patch16_224", num_classes=0).eval()
    with torch.no_grad():
        for n, p in vit.named_parameters():
            if p.ndim == 1:
                p.copy_(("norm" in n and n.endswith("weight")) + 0.2 * torch.randn_like(p))
            elif "blocks" in n:
                p.copy_(0.04 * torch.randn_like(p))
    proj = 0.04 * torch.randn(512, 768)
    bert = BertModel(BertConfig(vocab_size=64, hidden_size=64, num_hidden_layers=1, num_attention_heads=1, intermediate_size=64),
                     add_pooling_layer=False)
    state = {"visual.trunk." + k: v for k, v in vit.state_dict().items()}
    state.update({"text.transformer." + k: v for k, v in bert.state_dict().items() if "position_ids" not in k})
    state.update({"visual.head.proj.weight": proj, "logit_scale": torch.tensor(4.4454), "text.proj.0.weight": torch.zeros(80, 64),
                  "text.proj.2.weight": torch.zeros(512, 80)})
    return vit, proj, {k: v.detach().clone().contiguous() for k, v in state.items()}


def features(vit, proj, x):
    return F.normalize(vit.forward_features(x)[:, 0] @ proj.T, dim=-1)


def released(vit, proj, x, text, mode, layer, k):
    kept = []
    module = vit.get_submodule(layer)
    hook = module.register_forward_hook(lambda m, i, o: kept.append(o) or o.retain_grad())
    (SCALE * features(vit, proj, x)[0] @ text).backward()
    hook.remove()
    a, g = kept[0].detach()[0], kept[0].grad[0]
    grid = lambda t: t[1:].T.reshape(-1, 14, 14)
    importance = g[0] if mode == "cls" else grid(g).mean((1, 2))
    if mode == "official" and layer == "blocks.11.norm2":
        assert not grid(g).any(), "the gradient at the patches is not zero"
    idx = torch.topk(importance, k)[1]
    a = grid(a)
    with torch.no_grad():
        u = torch.nn.UpsamplingBilinear2d(size=(224, 224))(a[None])[0]
        lo, hi = u.flatten(1).min(1)[0][:, None, None], u.flatten(1).max(1)[0][:, None, None]
        u = (u - lo) / (hi - lo + 1e-6)
        scores = torch.cat([SCALE * features(vit, proj, x * u[i][:, None]) @ text for i in idx.split(20)])
        v = torch.zeros(768)
        v[idx] = torch.nan_to_num(scores)
        w = torch.softmax(v, 0).numpy()
    cam = np.maximum((w[:, None, None] * a.numpy()).sum(0), 0)
    cam = cam - cam.min()
    return cam / (1e-8 + cam.max()), w.max()


def main():
    exe = build("cam_map")
    vit, proj, state = random_weights()
    x = F.interpolate(torch.randn(1, 3, 14, 14), 224, mode="bicubic") + 0.2 * torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        text = F.normalize(features(vit, proj, x) + 0.05 * torch.randn(1, 512), dim=-1)
    bad = False
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "clip.safetensors")
        save_file(state, path)
        for mode, layer, k in (("official", "blocks.11.norm2", 300), ("cls", "blocks.11.norm2", 60),
                               ("patch", "blocks.9.norm2", 60)):
            if sys.argv[1:] and mode not in sys.argv[1:]:
                continue
            start = time.process_time()
            ref, weight = released(vit, proj, x, text[0], mode, layer, k)
            seconds = time.process_time() - start
            p = subprocess.run([exe, path, "visual.trunk." + layer, mode, str(k), str(SCALE), "8"],
                               input=x.numpy().tobytes() + text.numpy().tobytes(), stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, check=True)
            ours = np.frombuffer(p.stdout, np.float32).reshape(14, 14)
            assert ref.mean() > 0.01, "an empty map proves nothing"
            worst = np.abs(ours - ref).max()
            bad |= worst > 1e-3
            print(f"| {mode}, {layer}, {k} channels | {worst:.1e} | {weight:.2f} | {seconds:.0f} s | {p.stderr.decode().strip()} |",
                  flush=True)
    if bad:
        sys.exit("a map differs by more than 1e-3")


if __name__ == "__main__":
    main()
