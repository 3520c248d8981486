"""Time and peak memory of every stage beside PyTorch, alternating in one run.

usage: bench.py [--rounds 2] [--threads 1,2] [--stage NAME ...] [--masks 24] [--doc]
Needs torch, open_clip_torch, timm, transformers, segment_anything, mobile_sam; first run `make`.
Each measurement is a process of its own: `tools/bench --stage NAME`, then the same work in PyTorch
float32 (best of three after a warm-up), and so on for all rounds.  The best of each side counts, since
other work on the machine only ever adds time.  Memory is the largest resident set of the process,
weights included.  gscorecam runs --masks masked pictures and is scaled to 300.  --doc writes the
table in docs/performance.md.
"""
import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
STAGES = ["clip-image-1", "clip-image-16", "clip-text-256", "clip-text-16", "gscorecam", "sam-encode",
          "sam-decode", "vit_t-encode"]


def peer(stage, threads, masks):
    """The work of one stage in PyTorch: prints seconds."""
    import torch
    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    if stage.startswith("clip") or stage == "gscorecam":
        import biomedclip
        with tempfile.TemporaryDirectory() as folder:
            model = biomedclip.build(folder)
        if stage.startswith("clip-text"):
            # open_clip pads every caption to 256; 16 tokens are what a prompt has
            ids = torch.arange(5, 261)[None].clone()
            ids[:, int(stage.split("-")[2]):] = 0
            work = lambda: model.encode_text(ids)
        elif stage == "gscorecam":
            x = torch.rand(16, 3, 224, 224)
            work = lambda: [model.encode_image(x[:min(16, masks - i)]) for i in range(0, masks, 16)]
        else:
            x = torch.rand(int(stage.split("-")[2]), 3, 224, 224)
            work = lambda: model.encode_image(x)
    else:
        if stage.startswith("vit_t"):
            from mobile_sam import sam_model_registry
            sam = sam_model_registry["vit_t"]().eval()
        else:
            from segment_anything import sam_model_registry
            sam = sam_model_registry["vit_b"]().eval()
        if stage.endswith("encode"):
            x = torch.rand(1, 3, 1024, 1024)
            work = lambda: sam.image_encoder(x)
        else:
            e, box = torch.rand(1, 256, 64, 64), torch.tensor([[100.0, 100, 500, 600]])

            def work():
                sparse, dense = sam.prompt_encoder(points=None, boxes=box, masks=None)
                sam.mask_decoder(image_embeddings=e, image_pe=sam.prompt_encoder.get_dense_pe(),
                                 sparse_prompt_embeddings=sparse, dense_prompt_embeddings=dense,
                                 multimask_output=False)
    work()
    best = 1e9
    for _ in range(3):
        t = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - t)
    print(json.dumps({"seconds": best}))


def measure(command):
    """(seconds, peak MB) of a process that prints one JSON object."""
    r, w = os.pipe()
    pid = subprocess.Popen(command, stdout=w, stderr=subprocess.DEVNULL)
    os.close(w)
    out = os.fdopen(r).read()
    _, status, usage = os.wait4(pid.pid, 0)
    pid.returncode = status
    if status:
        sys.exit("failed: " + " ".join(command))
    return json.loads(out.strip().splitlines()[-1])["seconds"], usage.ru_maxrss / 1024


def ours(stage, threads, masks):
    tool = [os.path.join(ROOT, "tools", "bench"), "--json", "--repeat", "3", "--threads", str(threads), "--masks", str(masks)]
    if stage.startswith("vit_t"):
        return tool + ["--sam-type", "vit_t", "--stage", "sam-encode"]
    return tool + ["--stage", stage]


def row(stage, threads, o):
    a, b = [], []
    for _ in range(o.rounds):
        a.append(measure(ours(stage, threads, o.masks)))
        b.append(measure([sys.executable, os.path.abspath(__file__), "--peer", stage, "--threads", str(threads),
                          "--masks", str(o.masks)]))
    scale = 300 / o.masks if stage == "gscorecam" else 1
    s, t = min(x[0] for x in a) * scale, min(x[0] for x in b) * scale
    line = "| %s | %d | %.3f | %.3f | %.2f | %.0f / %.0f |" % (stage, threads, s, t, t / s, max(x[1] for x in a),
                                                              max(x[1] for x in b))
    print(line, flush=True)
    return line


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--rounds", type=int, default=2)
    p.add_argument("--threads", default="1,2")
    p.add_argument("--stage", nargs="*", default=STAGES)
    p.add_argument("--masks", type=int, default=24)
    p.add_argument("--doc", action="store_true")
    p.add_argument("--peer")
    o = p.parse_args()
    if o.peer:
        return peer(o.peer, int(o.threads), o.masks)
    rows = [row(s, int(t), o) for s in o.stage for t in o.threads.split(",")]
    if o.doc:
        path = os.path.join(ROOT, "docs", "performance.md")
        table = ("| stage | threads | mcs, s | PyTorch, s | PyTorch / mcs | peak memory, MB |\n|---|---|---|---|---|---|\n"
                 + "\n".join(rows) + "\n")
        text, n = re.subn(r"(<!-- bench -->\n).*?(<!-- /bench -->)", lambda m: m[1] + table + m[2], open(path).read(), flags=re.S)
        if not n:
            sys.exit("docs/performance.md has no <!-- bench --> section")
        open(path, "w").write(text)


if __name__ == "__main__":
    main()
