"""Training of BiomedCLIP at full size against open_clip in PyTorch.

usage: train.py --vocab vocab.txt [--batch 6] [--length 48] [--seed 3] [--threads 2] [PICTURE...]
       train.py --vocab vocab.txt --csv pairs.csv --data-root DIR [--batch 4] [--steps 3]
       train.py --timing [--batch 16] [--length 48] [--steps 2] [--micro N] [--peer SETTING ...]
Needs torch, open_clip_torch, timm, transformers, ftfy; first run `make parity`.

The first form takes one AdamW step from seeded random weights in train_dump.c, in one pass, in
parts and with recomputed blocks, and in PyTorch, in float64 and float32: loss, gradient of every
tensor, weights after the step.  Exit status 1 unless losses agree to 1e-5 and weights to 1e-4.

The second form trains with tools/finetune_clip on a table of pictures and captions, stops and
resumes it, loads the checkpoint into open_clip and compares embeddings (cosine >= 0.999999).

The third form measures seconds a step and memory, each side in a process of its own, in turns.
SETTING: plain, checkpoint (open_clip's --grad-checkpointing) or the pairs of GradCache's parts;
"256" is appended for texts padded to 256 as open_clip does.
"""
import argparse
import csv
import html
import json
import os
import resource
import subprocess
import sys
import tempfile
import time

import torch
from safetensors.torch import load_file, save_file

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
DUMP = os.path.join(ROOT, "build", "release", "tests", "parity", "train_dump")
sys.path.insert(0, HERE)
LR, BETAS, EPS, DECAY = 1e-4, (0.9, 0.98), 1e-6, 0.1
# Malloc keeps what it has: fresh pages for every activation cost PyTorch a third of its speed.
PEER_ENV = dict(os.environ, MALLOC_MMAP_THRESHOLD_="4294967296", MALLOC_TRIM_THRESHOLD_="17179869184",
                MALLOC_TOP_PAD_="268435456", OMP_WAIT_POLICY="passive")


def dhn_nce(image, text, scale=1 / 0.6, beta=0.15):
    n = torch.nn.functional.normalize
    l = scale * n(image, dim=-1) @ n(text, dim=-1).T
    b = len(l)
    own = torch.eye(b, dtype=torch.bool)
    total = 0
    for x in (l, l.T):
        v = x.masked_fill(own, float("-inf"))
        w = (b - 1) * torch.softmax(beta * v, 1)
        total = total - x.diagonal().sum() + torch.log((torch.exp(v) * w).sum(1)).sum()
    return total / b


def optimiser(model, fused=False):
    named = [(k, p) for k, p in model.named_parameters() if p.requires_grad]
    groups = [{"params": [p for k, p in named if p.ndim >= 2], "weight_decay": DECAY},
              {"params": [p for k, p in named if p.ndim < 2], "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=LR, betas=BETAS, eps=EPS, fused=fused)


def prepare(model):
    for k, p in model.named_parameters():
        p.requires_grad_(k != "logit_scale" and "pooler" not in k)
    return model


def one_step(model, opt, pictures, ids, part=0):
    """part: GradCache in parts of so many pairs, else one pass."""
    opt.zero_grad(set_to_none=False)
    if not part:
        loss = dhn_nce(model.encode_image(pictures), model.encode_text(ids))
        loss.backward()
    else:
        with torch.no_grad():
            x = torch.cat([model.encode_image(v) for v in pictures.split(part)])
            y = torch.cat([model.encode_text(v) for v in ids.split(part)])
        x.requires_grad_()
        y.requires_grad_()
        loss = dhn_nce(x, y)
        loss.backward()
        for v, g in zip(pictures.split(part), x.grad.split(part)):
            model.encode_image(v).backward(g)
        for v, g in zip(ids.split(part), y.grad.split(part)):
            model.encode_text(v).backward(g)
    return loss.detach()


def random_ids(batch, length, seed):
    g = torch.Generator().manual_seed(seed)
    ids = torch.randint(1000, 30000, (batch, length), generator=g)
    for i in range(1, batch):                       # the first fills the length
        n = int(torch.randint(4, length + 1, (1,), generator=g))
        ids[i, n:] = 0
    ids[:, 0] = 101
    return ids


def new_model(folder, weights=None):
    from biomedclip import build, randomise
    torch.manual_seed(0)
    model = prepare(build(folder))
    if weights:
        model.load_state_dict(weights)
    else:
        randomise(model)
    return model


# ---- One step ----

def reference(model, pictures, ids):
    opt = optimiser(model)
    loss = one_step(model, opt, pictures, ids)
    named = [(k, p) for k, p in model.named_parameters() if p.grad is not None]
    grads = {k: p.grad.clone() for k, p in named}
    torch.nn.utils.clip_grad_norm_([p for _, p in named], 1.0)
    opt.step()
    return float(loss), grads, {k: p.detach().clone() for k, p in named}


def worst(ours, exact, floor):
    """Largest |a - b| / max(|b|, floor) over the tensors, and whose."""
    d = {k: float((ours[k].double() - b.double()).norm() / max(float(b.double().norm()), floor))
         for k, b in exact.items()}
    name = max(d, key=d.get)
    return d[name], name, sorted(d.values())[len(d) // 2]


def compare(o, folder):
    file = lambda n: os.path.join(folder, n)
    torch.set_num_threads(o.threads)
    model = new_model(folder)
    state = {k: v.clone() for k, v in model.state_dict().items() if "position_ids" not in k}
    save_file(state, file("clip.safetensors"))
    if o.pictures:
        from open_clip.transform import PreprocessCfg, image_transform_v2
        from PIL import Image
        from biomedclip import MEAN, STD
        t = image_transform_v2(PreprocessCfg(size=224, mean=MEAN, std=STD, interpolation="bicubic",
                                             resize_mode="shortest"), is_train=False)
        pictures = torch.stack([t(Image.open(p)) for p in o.pictures])
    else:
        pictures = torch.randn(o.batch, 3, 224, 224, generator=torch.Generator().manual_seed(o.seed))
    ids = random_ids(len(pictures), o.length, o.seed)
    save_file({"pictures": pictures, "ids": ids}, file("in.safetensors"))
    loss32, g32, w32 = reference(model, pictures, ids)
    model.load_state_dict(state, strict=False)
    loss64, g64, w64 = reference(prepare(model.double()), pictures.double(), ids)
    del model
    whole = float(torch.stack([g.norm() for g in g64.values()]).norm())
    print("%d tensors, loss %.9f, norm of the gradient %.6f" % (len(g64), loss64, whole))
    print("%-22s %12s | %9s %9s %-48s | %9s %9s | %9s" % ("", "loss error", "gradient", "median", "of", "weights",
                                                          "median", "of lr"))

    def row(name, loss, grads, weights):
        g, gn, gm = worst(grads, g64, 1e-6 * whole)
        w, _, wm = worst(weights, w64, 0)
        c = max(float((weights[k].double() - w64[k]).norm()) / (LR * b.numel() ** 0.5) for k, b in w64.items())
        print("%-22s %12.2e | %9.2e %9.2e %-48s | %9.2e %9.2e | %9.2e"
              % (name, abs(loss - loss64) / abs(loss64), g, gm, gn, w, wm, c), flush=True)
        return abs(loss - loss64) <= 1e-5 * abs(loss64) and w <= 1e-4

    row("PyTorch float32", loss32, g32, w32)
    del g32, w32
    good, bits = True, []
    for name, micro, again in (("mcs, one pass", 0, 0), ("mcs, recomputed", 0, 1), ("mcs, parts of 2", 2, 0)):
        out = subprocess.check_output([DUMP, file("clip.safetensors"), file("in.safetensors"), file("g"), file("w"),
                                       str(micro), str(again), "1", str(o.threads)], text=True)
        stats, grads, weights = json.loads(out), load_file(file("g")), load_file(file("w"))
        if set(grads) != set(g64):
            sys.exit("other weights are trained: %s" % sorted(set(grads) ^ set(g64))[:4])
        good &= row(name, stats["loss"], grads, weights)
        bits.append(grads if not bits else all(torch.equal(grads[k], bits[0][k]) for k in grads))
        print("   ", out.strip())
    print("recomputed blocks give the same bits:", bits[1])
    return good and bits[1]


# ---- The tool ----

def tool(o, folder):
    from biomedclip import run as clip_dump
    from open_clip.transform import PreprocessCfg, image_transform_v2
    from PIL import Image
    from transformers import BertTokenizer
    import ftfy
    from biomedclip import MEAN, STD
    file = lambda n: os.path.join(folder, n)
    model = new_model(folder)
    save_file({k: v.clone() for k, v in model.state_dict().items() if "position_ids" not in k}, file("clip.safetensors"))
    rows = list(csv.DictReader(open(o.csv, encoding="utf-8")))
    epochs = max(1, o.steps * o.batch // len(rows))
    command = [os.path.join(ROOT, "tools", "finetune_clip"), "--train-data", o.csv, "--data-root", o.data_root,
               "--pretrained", file("clip.safetensors"), "--vocab", o.vocab, "--batch-size", str(o.batch), "--micro-batch",
               str(o.micro or 2), "--epochs", str(epochs), "--lr", "1e-4", "--logs", folder, "--log-every-n-steps", "1",
               "--threads", str(o.threads), "--quiet"]
    t0 = time.time()
    subprocess.check_call(command + ["--name", "whole"])
    print("finetune_clip: %d rows, %d epochs, %.0f s" % (len(rows), epochs, time.time() - t0))
    print(open(file("whole/log.jsonl")).read().strip())
    p = subprocess.Popen(command + ["--name", "resumed"])
    log = file("resumed/log.jsonl")
    while p.poll() is None and not (os.path.exists(log) and '"step":1' in open(log).read()):
        time.sleep(0.2)
    p.terminate()
    print("stopped with", p.wait())
    subprocess.check_call(command + ["--name", "resumed", "--resume", "latest"])
    last = "checkpoints/epoch_%d.safetensors" % epochs
    same = open(file("whole/" + last), "rb").read() == open(file("resumed/" + last), "rb").read()
    print("resumed: the same bytes:", same)

    trained = load_file(file("whole/" + last))
    before = load_file(file("clip.safetensors"))
    print("load into open_clip:", model.load_state_dict(trained, strict=True), "changed tensors:",
          sum(not torch.equal(trained[k], before[k]) for k in before), "of", len(before))
    rows = rows[:8]
    paths = [os.path.join(o.data_root, r["filename"]) for r in rows]
    open(file("captions"), "w").write("".join(r["caption"] + "\n" for r in rows))
    ours, _ = clip_dump(file("whole/" + last), o.vocab, file("captions"), file("out"), paths)
    t = image_transform_v2(PreprocessCfg(size=224, mean=MEAN, std=STD, interpolation="bicubic",
                                         resize_mode="shortest"), is_train=False)
    table = {t.rstrip("\n"): i for i, t in enumerate(open(o.vocab, encoding="utf-8"))}
    clean = [" ".join(html.unescape(html.unescape(ftfy.fix_text(r["caption"]))).split()) for r in rows]
    ids = BertTokenizer(vocab=table)(clean, max_length=256, padding="max_length", truncation=True,
                                     return_tensors="pt").input_ids
    with torch.no_grad():
        image, text = model.encode_image(torch.stack([t(Image.open(p).convert("RGB")) for p in paths])), model.encode_text(ids)
    good = same
    for name, x, y in (("image", image, ours["image"]), ("text", text, ours["text"])):
        c = torch.nn.functional.cosine_similarity(x.double(), y.double(), dim=-1)
        print("%s: smallest cosine of %d embeddings 1 - %.1e" % (name, len(c), 1 - float(c.min())))
        good &= bool(c.min() >= 0.999999)
    return good


# ---- Time ----

def hwm_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1.024e-3


def peer(o, folder):
    torch.set_num_threads(o.threads)
    setting = o.as_peer
    model = new_model(folder, load_file(o.weights)).to(memory_format=torch.channels_last)
    model.train()
    for m in model.modules():
        if isinstance(m, torch.nn.Dropout):
            m.p = 0.0
        if hasattr(m, "dropout_prob"):
            m.dropout_prob = 0.0
    data = load_file(o.inputs)
    pictures = data["pictures"].to(memory_format=torch.channels_last)
    ids = data["ids"]
    if setting.endswith("256"):
        ids = torch.nn.functional.pad(ids, (0, 256 - ids.shape[1]))
        setting = setting[:-3]
    if setting == "checkpoint":
        model.set_grad_checkpointing(True)
    part = int(setting) if setting.isdigit() else 0
    opt = optimiser(model, fused=True)
    wall, cpu = [], []
    for _ in range(o.steps):
        t0, u0 = time.time(), time.process_time()
        loss = one_step(model, opt, pictures, ids, part)
        torch.nn.utils.clip_grad_norm_([p for p in model.parameters() if p.grad is not None], 1.0)
        opt.step()
        wall.append(round(time.time() - t0, 3))
        cpu.append(round(time.process_time() - u0, 3))
    print(json.dumps({"wall_s": wall, "cpu_s": cpu, "loss": float(loss), "rss_mb": round(hwm_mb())}))


def timing(o, folder):
    file = lambda n: os.path.join(folder, n)
    if not o.weights:
        o.weights = file("clip.safetensors")
        save_file({k: v.clone() for k, v in new_model(folder).state_dict().items() if "position_ids" not in k}, o.weights)
    g = torch.Generator().manual_seed(o.seed)
    save_file({"pictures": torch.randn(o.batch, 3, 224, 224, generator=g),
               "ids": random_ids(o.batch, o.length, o.seed)}, file("in.safetensors"))
    for _ in range(o.rounds):
        for micro in o.mcs:
            micro, _, again = (micro + "1" if micro.endswith("c") else micro).partition("c")
            out = subprocess.check_output([DUMP, o.weights, file("in.safetensors"), "-", "-", micro, again or "0",
                                           str(o.steps), str(o.threads)], text=True)
            print("mcs     %-10s %s" % (micro + ("c" + again if again else ""), out.strip()), flush=True)
        for s in o.peer:
            r = subprocess.run([sys.executable, os.path.abspath(__file__), "--as-peer", s, "--weights", o.weights, "--inputs",
                                file("in.safetensors"), "--steps", str(o.steps), "--threads", str(o.threads)],
                               env=PEER_ENV, stdout=subprocess.PIPE, text=True)
            print("PyTorch %-10s %s" % (s, r.stdout.strip() or "failed: %d" % r.returncode), flush=True)
    return True


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--vocab")
    p.add_argument("--batch", type=int, default=6)
    p.add_argument("--length", type=int, default=48)
    p.add_argument("--seed", type=int, default=3)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--steps", type=int, default=3)
    p.add_argument("--micro", type=int, default=0)
    p.add_argument("--csv")
    p.add_argument("--data-root", default=".")
    p.add_argument("--timing", action="store_true")
    p.add_argument("--rounds", type=int, default=1)
    p.add_argument("--mcs", nargs="*", default=["0"], help="pairs of a part; 0: one pass; ending in c: recomputed, c0.34: a third of the blocks")
    p.add_argument("--peer", nargs="*", default=["plain"])
    p.add_argument("--weights")
    p.add_argument("--inputs", help=argparse.SUPPRESS)
    p.add_argument("--as-peer", help=argparse.SUPPRESS)
    p.add_argument("pictures", nargs="*")
    o = p.parse_args()
    with tempfile.TemporaryDirectory(prefix="clip_train_") as folder:
        if o.as_peer:
            return peer(o, folder)
        if not o.timing and o.csv and not o.vocab:
            p.error("--csv needs --vocab")
        work = timing if o.timing else tool if o.csv else compare
        sys.exit(0 if work(o, folder) else 1)


if __name__ == "__main__":
    main()
