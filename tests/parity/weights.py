"""Every tensor of checkpoints, as inspect_weights converts them, against torch.load and
safetensors, bit for bit.  Run: python weights.py FILE...  (after make; exit 1 on a difference)"""
import os
import subprocess
import sys
import tempfile
import warnings

import torch
from safetensors.torch import load_file

tool = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tools", "inspect_weights")
warnings.filterwarnings("ignore")


def flat(o, path, out):
    if isinstance(o, torch.Tensor):
        out[path or "tensor"] = o.detach()
    elif isinstance(o, (dict, list, tuple)):
        for k, v in o.items() if isinstance(o, dict) else enumerate(o):
            flat(v, (path + "." if path else "") + str(k), out)
    return out


def reference(path):
    with open(path, "rb") as f:
        head = f.read(9)
    if head[8:9] == b"{":
        return load_file(path)
    return flat(torch.load(path, map_location="cpu", weights_only=False), "", {})


def bits(t):
    return t.contiguous().reshape(-1).view(torch.uint8)


def compare(path):
    with tempfile.TemporaryDirectory() as d:
        out = os.path.join(d, "x.safetensors")
        run = subprocess.run([tool, "convert", path, "-o", out], capture_output=True, text=True)
        if run.returncode:
            return "refused: " + run.stderr.strip()
        ours = load_file(out)
    want = reference(path)
    if set(ours) != set(want):
        return "names differ: %s" % sorted(set(ours) ^ set(want))[:5]
    for name, t in want.items():
        u = ours[name]
        if u.dtype != t.dtype or u.shape != t.shape or not torch.equal(bits(u), bits(t)):
            return "%s differs" % name
    return None


bad = 0
for path in sys.argv[1:]:
    what = compare(path)
    bad += what is not None
    print("%s: %s" % (path, what or "equal"))
sys.exit(bad != 0)
