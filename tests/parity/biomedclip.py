"""BiomedCLIP at full size against open_clip, with random weights or a real checkpoint.

usage: biomedclip.py --vocab vocab.txt [--weights open_clip_pytorch_model.bin] [--doc] [PICTURE...]
Needs torch, open_clip_torch, timm, transformers, ftfy; first run `make parity`.  Builds open_clip's
CustomTextCLIP of BiomedCLIP's configuration (no download), gives it seeded random weights under
which no layer is idle, saves it as users have it (.bin) and in the layout of MedCLIP-SAMv2's port,
and lets clip_dump.c load and run both.  Compares pixels, ids, embeddings and logits with PyTorch
in float64, next to PyTorch's own float32 error, and layer by layer every tapped output.  --doc
writes the table in docs/numerics.md.  Exit status 1 unless all embeddings have cosine >= 0.999999.
"""
import argparse
import html
import json
import os
import re
import subprocess
import sys
import tempfile
import time

import ftfy
import numpy as np
import torch
from open_clip.model import CustomTextCLIP
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertTokenizer

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
DUMP = os.path.join(ROOT, "build", "release", "tests", "parity", "clip_dump")
sys.path.insert(0, os.path.join(ROOT, "tests", "golden"))
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
CAPTIONS = ["Axial CT image of the chest shows a 2.5-cm spiculated nodule (arrow) in the right upper lobe.",
            "A medical ultrasound image showing a benign breast tumor", "brain MRI, glioma", "lungs",
            "Hodgkin’s lymphoma — “ground-glass” opacities &amp; ﬁbrosis, 5 × 10⁻³ mm²/s " + "and so on " * 120]


def build(folder):
    config = os.path.join(folder, "text")
    BertConfig(vocab_size=30522, hidden_size=768, num_hidden_layers=12, num_attention_heads=12,
               intermediate_size=3072, max_position_embeddings=512, layer_norm_eps=1e-12).save_pretrained(config)
    model = CustomTextCLIP(
        embed_dim=512,
        vision_cfg={"timm_model_name": "vit_base_patch16_224", "timm_model_pretrained": False, "timm_pool": "",
                    "timm_proj": "linear", "image_size": 224},
        text_cfg={"hf_model_name": config, "hf_model_pretrained": False, "hf_proj_type": "mlp",
                  "hf_pooler_type": "cls_last_hidden_state_pooler", "context_length": 256})
    return model.eval()


def randomise(model):
    g = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, p in model.named_parameters():
            r = torch.randn(p.shape, generator=g)
            if "norm" in name.lower():
                p.copy_(1 + 0.2 * r if name.endswith("weight") else 0.1 * r)
            elif name == "logit_scale":
                p.fill_(4.4454)
            elif "embed" in name and "proj" not in name or name.endswith("cls_token"):
                p.copy_(0.3 * r)
            elif p.ndim >= 2:
                p.copy_(r * (1.5 if "qkv" in name or "query" in name or "key" in name else 0.8)
                        / p[0].numel() ** 0.5)
            else:
                p.copy_(0.1 * r)


def draw_pictures(folder):
    paths = []
    for i, (h, w) in enumerate(((224, 224), (427, 640), (600, 333), (100, 90))):
        r = np.random.default_rng(i)
        y, x = np.mgrid[0:h, 0:w]
        a = np.stack([128 + 90 * np.sin(x / (9 + 5 * i) + k) * np.cos(y / (21 - 4 * i) - k) for k in range(3)], -1)
        a[(y - h / 2) ** 2 + (x - w / 3) ** 2 < (h / 5) ** 2] = r.integers(0, 256, 3)
        paths.append(os.path.join(folder, "%d.png" % i))
        Image.fromarray(np.clip(a + r.normal(0, 15, a.shape), 0, 255).astype(np.uint8)).save(paths[-1])
    return paths


def reference(model, pictures, ids, trace):
    out, hooks = {}, []
    if trace:
        for name, m in model.named_modules():
            hooks.append(m.register_forward_hook(
                lambda m, a, y, n=name: out.__setitem__("tap/" + n, y[0] if isinstance(y, tuple) else y)
                if torch.is_tensor(y) or isinstance(y, tuple) else None))
    with torch.no_grad():
        t0 = time.time()
        out["image"] = model.encode_image(pictures)
        t1 = time.time()
        out["text"] = model.encode_text(ids)
        t2 = time.time()
    n = torch.nn.functional.normalize
    out["logits"] = model.logit_scale.exp().detach() * n(out["image"], dim=-1) @ n(out["text"], dim=-1).T
    for h in hooks:
        h.remove()
    return out, t1 - t0, t2 - t1


def rel(a, b):
    return float((a.double() - b.double()).abs().max() / b.double().abs().max())


def cosine(a, b):
    return float(torch.nn.functional.cosine_similarity(a.double(), b.double(), dim=-1).min())


def tap_errors(ours, ref):
    for key in ours:
        if not key.startswith("tap/") or key not in ref:
            continue
        a, b = ours[key], ref[key]
        if a.ndim == 3 and a.shape[0] == len(CAPTIONS) and a.shape[1] < b.shape[1]:
            b = b[:, :a.shape[1]]
        if a.ndim == 3 and key.startswith("tap/text"):     # padding is of no use
            keep = ours["ids"] != 0
            a, b = a[keep], b[keep]
        if a.numel() == b.numel():
            yield key[4:], rel(a.reshape(-1), b.reshape(-1))


def run(checkpoint, vocab, captions, out, pictures):
    stats = json.loads(subprocess.check_output([DUMP, checkpoint, vocab, captions, out] + pictures, text=True))
    return load_file(out), stats


def document(row):
    path = os.path.join(ROOT, "docs", "numerics.md")
    text = open(path).read()
    text, n = re.subn(r"(<!-- biomedclip -->\n).*?(<!-- /biomedclip -->)", lambda m: m[1] + row + m[2], text, flags=re.S)
    if not n:
        sys.exit("docs/numerics.md has no <!-- biomedclip --> section")
    open(path, "w").write(text)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--vocab", required=True)
    p.add_argument("--weights")
    p.add_argument("--doc", action="store_true")
    p.add_argument("pictures", nargs="*")
    o = p.parse_args()
    with tempfile.TemporaryDirectory(prefix="clip_parity_") as folder:
        sys.exit(0 if compare(o, folder) else 1)


def compare(o, folder):
    torch.manual_seed(0)
    model = build(folder)
    if o.weights:
        print("load:", model.load_state_dict(torch.load(o.weights, map_location="cpu"), strict=False))
    else:
        randomise(model)
    file = lambda n: os.path.join(folder, n)
    torch.save(model.state_dict(), file("open_clip_pytorch_model.bin"))
    from make_clip import hf_names
    state = {k: v for k, v in model.state_dict().items() if "position_ids" not in k}
    save_file({k: v.contiguous().clone() for k, v in hf_names(state).items()}, file("hf.safetensors"))
    del state
    paths = o.pictures or draw_pictures(folder)
    open(file("captions.txt"), "w").write("\n".join(CAPTIONS) + "\n")

    table = {t.rstrip("\n"): i for i, t in enumerate(open(o.vocab, encoding="utf-8"))}
    clean = [" ".join(html.unescape(html.unescape(ftfy.fix_text(t))).split()) for t in CAPTIONS]
    ids = BertTokenizer(vocab=table)(clean, max_length=256, padding="max_length", truncation=True,
                                     return_tensors="pt").input_ids
    transform = image_transform_v2(PreprocessCfg(size=224, mean=MEAN, std=STD, interpolation="bicubic",
                                                 resize_mode="shortest"), is_train=False)
    pictures = torch.stack([transform(Image.open(q)) for q in paths])
    torch32, ts, tt = reference(model, pictures, ids, False)
    torch32, ts, tt = reference(model, pictures, ids, False)
    exact, _, _ = reference(model.double(), pictures.double(), ids, True)
    del model

    ours, stats = run(file("open_clip_pytorch_model.bin"), o.vocab, file("captions.txt"), file("out"), paths)
    other, _ = run(file("hf.safetensors"), o.vocab, file("captions.txt"), file("out"), paths)
    n = ours["ids"].shape[1]
    good = torch.equal(ours["ids"], ids[:, :n]) and not ids[:, n:].any()
    print("ids equal:", good, " pixels: largest difference", float((ours["pictures"] - pictures).abs().max()))
    worst, taps = 0.0, list(tap_errors(ours, exact))
    print("%d tapped outputs compared, largest error %.2e; the first, and where it doubles:"
          % (len(taps), max(e for _, e in taps)))
    for name, e in taps:
        if e > 2 * worst or e > 1e-4:
            print("  %9.2e  %s" % (e, name))
            worst = max(worst, e)
    rows = ""
    for key in ("image", "text", "logits"):
        same = torch.equal(ours[key], other[key])
        c = cosine(ours[key], exact[key]) if key != "logits" else float("nan")
        spread = torch.nn.functional.normalize(exact[key], dim=-1)
        spread = (spread @ spread.T).min() if key != "logits" else exact[key].std()
        print("%-6s error %.2e (PyTorch float32 %.2e), smallest cosine with float64 1 - %.1e, layouts %s, spread %.3f"
              % (key, rel(ours[key], exact[key]), rel(torch32[key], exact[key]), 1 - c, "equal" if same else "DIFFER", spread))
        good &= same and (key == "logits" or c >= 0.999999)
        rows += "| %s | %.1e | %.1e | %s |\n" % (key, rel(ours[key], exact[key]), rel(torch32[key], exact[key]),
                                              "" if key == "logits" else "%.9f" % c)
    print("ours", stats, "open_clip image_s %.3f text_s %.3f with %d threads" % (ts, tt, torch.get_num_threads()))
    if o.doc:
        head = ("| output | error | PyTorch float32's own | smallest cosine |\n|---|---|---|---|\n")
        document(head + rows)
    print("PASS" if good else "FAIL")
    return good


if __name__ == "__main__":
    main()
