"""zeroshot_seg from end to end against the same pipeline in Python, on the same weights.

usage: pipeline.py --vocab vocab.txt [--preset paper|official-code] [--topk 300] [--sam vit_b|vit_t]
                   [--clip W --sam-weights W] [--doc] [--timing] PICTURE="prompt" ...
Needs torch, open_clip_torch, timm, transformers, segment_anything, pydensecrf2, OpenCV.  Builds
BiomedCLIP (open_clip) and SAM (segment_anything) at full size with seeded random weights, or takes
checkpoints, saves them as PyTorch does, runs the tool on every picture and compares saliency,
coarse mask, box and mask with: gScoreCAM by autograd, pydensecrf, cv2 contours, SamPredictor.
--doc writes the table in docs/numerics.md.  Exit status 1 unless every mask has IoU >= 0.99.
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

import cv2
import numpy as np
import pydensecrf.densecrf as dcrf
import torch
import torch.nn.functional as F
from PIL import Image
from transformers import BertTokenizer

import biomedclip
import sam as sam_parity

ROOT = biomedclip.ROOT
MEAN = torch.tensor(biomedclip.MEAN).view(3, 1, 1)
STD = torch.tensor(biomedclip.STD).view(3, 1, 1)
OFFICIAL = [*range(385, 577), *range(601, 613), *range(672, 768)]


def preprocess(im, crop):
    """224 x 224: squashed, or torchvision's Resize and CenterCrop."""
    if crop:
        w, h = im.size
        size = (224, int(224 * h / w)) if w <= h else (int(224 * w / h), 224)
        im = im.resize(size, Image.BICUBIC)
        left, top = int(round((size[0] - 224) / 2)), int(round((size[1] - 224) / 2))
        im = im.crop((left, top, left + 224, top + 224))
    else:
        im = im.resize((224, 224), Image.BICUBIC)
    x = torch.from_numpy(np.array(im)).permute(2, 0, 1).float() / 255
    return ((x - MEAN) / STD)[None]


def text_feature(model, vocab, prompt):
    tokens = BertTokenizer(vocab, do_lower_case=True)(prompt, padding="max_length", truncation=True,
                                                      max_length=256, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        return F.normalize(model.encode_text(tokens), dim=-1)


def gscorecam(model, x, text, topk, official):
    """method of the released code; channels by the gradient at the class token, or its fixed set."""
    seen = {}
    layer = model.visual.trunk.blocks[11].norm2
    hook = layer.register_forward_hook(lambda m, a, y: seen.__setitem__("a", y))
    feature = F.normalize(model.encode_image(x), dim=-1)
    hook.remove()
    a = seen["a"]
    if official:
        chosen = torch.tensor(OFFICIAL)
    else:
        g = torch.autograd.grad((feature * text).sum(), a)[0]
        chosen = torch.topk(g[0, 0], topk).indices
    maps = a.detach()[0, 1:].T.reshape(768, 14, 14)
    up = F.interpolate(maps[None], (224, 224), mode="bilinear", align_corners=True)[0]
    low, high = up.amin((1, 2), keepdim=True), up.amax((1, 2), keepdim=True)
    masks = (up - low) / (high - low + 1e-6)
    scores = torch.zeros(768)
    with torch.no_grad():
        for part in chosen.split(12):
            f = F.normalize(model.encode_image(x * masks[part][:, None]), dim=-1)
            scores[part] = model.logit_scale.exp() * (f @ text[0])
    w = torch.softmax(torch.nan_to_num(scores), 0)
    return normalise(np.maximum((w[:, None, None] * maps).sum(0).numpy(), 0))


def normalise(m):
    m = m - m.min()
    return m / (1e-8 + m.max())


def overlay_grey(saliency, rgb):
    """What the released code hands to its CRF: the JET overlay read back as grey."""
    jet = cv2.applyColorMap(np.uint8(255 * saliency), cv2.COLORMAP_JET)[..., ::-1]
    v = np.float32(jet) / 255 + np.float32(rgb) / 255
    level = np.uint8(255 * (v / v.max())).astype(int)
    grey = (4899 * level[..., 0] + 9617 * level[..., 1] + 1868 * level[..., 2] + 8192) >> 14
    return grey.astype(np.float32) / 255


def crf(saliency, rgb):
    h, w = saliency.shape
    a = saliency.astype(np.float64)
    sigmoid = lambda v: 1 / (1 + np.exp(-v))
    background = -np.log(1 - a + 1e-8) / (1.05 * sigmoid(1 - a))
    foreground = -np.log(a + 1e-8) / (1.05 * sigmoid(a))
    d = dcrf.DenseCRF2D(w, h, 2)
    d.setUnaryEnergy(np.ascontiguousarray(np.stack([background.ravel(), foreground.ravel()]).astype(np.float32)))
    d.addPairwiseGaussian(sxy=3, compat=3)
    d.addPairwiseBilateral(sxy=60, srgb=5, rgbim=np.ascontiguousarray(rgb), compat=5)
    return np.argmax(np.array(d.inference(1)).reshape(2, h, w), 0).astype(np.uint8)


def largest(mask):
    n, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    if n < 2:
        return mask
    areas = stats[1:, cv2.CC_STAT_AREA]
    return np.isin(labels, 1 + np.flatnonzero(areas == areas.max())).astype(np.uint8)


def box_of(mask, official):
    h, w = mask.shape
    contours = cv2.findContours(mask * 255, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)[0]
    if not contours:
        return [0, 0, w, h]
    if official:
        x, y, bw, bh = cv2.boundingRect(max(contours, key=cv2.contourArea))
    else:
        x, y, bw, bh = cv2.boundingRect(np.concatenate(contours))
    return [x, y, min(x + bw, w - 1), min(y + bh, h - 1)]


def reference(o, model, predictor, path, prompt):
    official = o.preset == "official-code"
    im = Image.open(path).convert("RGB")
    rgb, t = np.array(im), [time.time()]
    text = text_feature(model, o.vocab, prompt)
    t.append(time.time())
    grid = gscorecam(model, preprocess(im, official), text, o.topk, official)
    saliency = normalise(cv2.resize(grid, im.size))
    t.append(time.time())
    coarse = crf(overlay_grey(saliency, rgb) if official else saliency, rgb)
    coarse = coarse if official else largest(coarse)
    box = box_of(coarse, official)
    t.append(time.time())
    predictor.set_image(rgb)
    t.append(time.time())
    masks, iou, _ = predictor.predict(box=np.array(box), multimask_output=False)
    t.append(time.time())
    return {"saliency": saliency, "coarse": coarse, "box": box, "mask": masks[0].astype(np.uint8),
            "iou": float(iou[0]), "seconds": np.diff(t)}


STAGES = ["saliency", "coarse mask", "SAM encode", "SAM decode"]    # the text is encoded once for all pictures


def stages(t):
    return dict(zip(STAGES, (t["saliency"] + t["prepare"], t["coarse"], t["sam_encode"], t["sam_decode"])))


def iou(a, b):
    union = np.logical_or(a, b).sum()
    return float(np.logical_and(a, b).sum() / union) if union else 1.0


def compare(o, out, path, ref):
    stem = os.path.splitext(os.path.basename(path))[0]
    read = lambda kind: np.array(Image.open(os.path.join(out, kind, stem + ".png")))
    line = next(json.loads(s) for s in open(os.path.join(out, "results.jsonl"))
                if os.path.splitext(os.path.basename(json.loads(s)["input"]))[0] == stem)
    row = {
        "picture": "%s %dx%d" % (os.path.basename(os.path.dirname(path)), *Image.open(path).size),
        "saliency": float(np.abs(read("saliency") / 65535 - ref["saliency"]).max()),
        "coarse": iou(read("coarse") > 0, ref["coarse"]),
        "box": float(np.abs(np.array(line["sam_boxes"][0]) - ref["box"]).max()),
        "mask": iou(read("masks") > 0, ref["mask"]),
        "area": float((read("masks") > 0).mean()),
        "iou": abs(line["iou_pred"][0] - ref["iou"]),
        "peak": line["cam"]["max"],
        "clip_score": line["clip_score"],
        "ours": stages(line["seconds"]),
        "python": dict(zip(STAGES, map(float, ref["seconds"][1:]))),
    }
    if not line["cam"]["max"] > 0:
        sys.exit("the map is empty: nothing is compared")
    print(json.dumps(row), "ours", json.dumps(line.get("seconds")), "python", ref["seconds"].round(2).tolist(), flush=True)
    return row


def document(preset, rows):
    path = os.path.join(ROOT, "docs", "numerics.md")
    table = "| picture | saliency, max abs | coarse mask IoU | box, pixels | mask IoU | iou_pred |\n|---|---|---|---|---|---|\n"
    for r in rows:
        table += "| {picture} | {saliency:.1e} | {coarse:.5f} | {box:g} | {mask:.5f} | {iou:.1e} |\n".format(**r)
    text = open(path).read()
    mark = "pipeline " + preset
    text, n = re.subn(r"(<!-- %s -->\n).*?(<!-- /%s -->)" % (mark, mark), lambda m: m[1] + table + m[2], text, flags=re.S)
    if not n:
        sys.exit("docs/numerics.md has no <!-- %s --> section" % mark)
    open(path, "w").write(text)


def align(o, model):
    """Random towers may point apart, and then the map is empty: turn the text's way round, as no
    trained model would need."""
    path, prompt = o.pictures[0].rsplit("=", 1)
    with torch.no_grad():
        f = model.encode_image(preprocess(Image.open(path).convert("RGB"), False))
        if (f * text_feature(model, o.vocab, prompt)).sum() < 0:
            model.text.proj[2].weight.neg_()


def document_times(rows, threads):
    """The first picture's stages side by side, into docs/performance.md."""
    path = os.path.join(ROOT, "docs", "performance.md")
    table = "| stage of `zeroshot_seg`, %d threads | mcs, s | Python, s | Python / mcs |\n|---|---|---|---|\n" % threads
    a, b = dict(rows[0]["ours"]), dict(rows[0]["python"])
    a["all"], b["all"] = sum(a.values()), sum(b.values())
    for k in a:
        table += "| %s | %.3f | %.3f | %.1f |\n" % (k, a[k], b[k], b[k] / a[k])
    text, n = re.subn(r"(<!-- pipeline %d -->\n).*?(<!-- /pipeline %d -->)" % (threads, threads), lambda m: m[1] + table + m[2], open(path).read(), flags=re.S)
    if not n:
        sys.exit("docs/performance.md has no <!-- pipeline %d --> section" % threads)
    open(path, "w").write(text)


def save_models(o, folder, model, sam):
    o.clip = o.clip or os.path.join(folder, "open_clip_pytorch_model.bin")
    o.sam_weights = o.sam_weights or os.path.join(folder, "sam.pth")
    if not os.path.exists(o.clip):
        torch.save(model.state_dict(), o.clip)
    if not os.path.exists(o.sam_weights):
        torch.save(sam.state_dict(), o.sam_weights)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--vocab", required=True)
    p.add_argument("--preset", default="paper", choices=["paper", "official-code"])
    p.add_argument("--topk", type=int, default=300)
    p.add_argument("--sam", default="vit_b")
    p.add_argument("--clip")
    p.add_argument("--sam-weights")
    p.add_argument("--doc", action="store_true")
    p.add_argument("--timing", action="store_true", help="write the first picture's times to docs/performance.md")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("pictures", nargs="+", metavar='PICTURE="prompt"')
    o = p.parse_args()
    torch.set_num_threads(o.threads)
    from segment_anything import SamPredictor
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        model = biomedclip.build(folder)
        biomedclip.randomise(model)
        align(o, model)
        sam = sam_parity.build(o.sam)
        save_models(o, folder, model, sam)
        predictor = SamPredictor(sam)
        for i, item in enumerate(o.pictures):
            path, prompt = item.rsplit("=", 1)
            out = os.path.join(folder, "out%d" % i)
            begin = time.time()
            subprocess.run([os.path.join(ROOT, "tools", "zeroshot_seg"), "-i", path, "-o", out, "--clip", o.clip,
                            "--vocab", o.vocab, "--sam", o.sam_weights, "--preset", o.preset, "--topk", str(o.topk),
                            "--prompt", prompt, "--save", "mask,saliency,coarse", "--threads", str(o.threads),
                            "--progress", "off", "--quiet"], check=True, stdout=subprocess.DEVNULL)
            ours = time.time() - begin
            rows.append(compare(o, out, path, reference(o, model, predictor, path, prompt)))
    if o.doc:
        document(o.preset, rows)
    if o.timing:
        document_times(rows, o.threads)
    print("python peak %.0f MB" % (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))
    sys.exit(any(r["mask"] < 0.99 for r in rows))


if __name__ == "__main__":
    main()
