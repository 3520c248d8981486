"""Small PyTorch files of every kind the readers know, and one safetensors file with what torch
says is in them: tests/golden/weights_*.  Run: python make_weights.py (torch, safetensors)."""
import collections
import os
import sys

import torch
from safetensors.torch import save_file

here = os.path.dirname(os.path.abspath(__file__))
torch.manual_seed(5)
wanted = {}


def flat(o, path, out):
    if isinstance(o, torch.Tensor):
        out[path or "tensor"] = o.detach().contiguous().clone()
    elif isinstance(o, dict):
        for k, v in o.items():
            flat(v, (path + "." if path else "") + str(k), out)
    elif isinstance(o, (list, tuple)):
        for k, v in enumerate(o):
            flat(v, (path + "." if path else "") + str(k), out)


def save(name, o, **kw):
    """The file and, under NAME/KEY in weights_expected, its tensors as torch.load gives them."""
    path = os.path.join(here, "weights_%s.pt" % name)
    torch.save(o, path, **kw)
    out = {}
    flat(torch.load(path, weights_only=False), "", out)
    for k, v in out.items():
        wanted[name + "/" + k] = v


base = torch.randn(6, 7)
types = {str(t)[6:]: (torch.randn(3, 2) * 40).to(t) for t in (
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32,
    torch.int16, torch.int8, torch.bool, torch.float8_e4m3fn, torch.float8_e5m2)}
types["uint8"] = torch.tensor([0, 1, 255], dtype=torch.uint8)
types["uint16"] = torch.tensor([0, 1, 65535], dtype=torch.uint16)
types["uint32"] = torch.tensor([0, 1, 2**32 - 1], dtype=torch.uint32)
types["uint64"] = torch.tensor([0, 1, 2**63 - 1], dtype=torch.uint64)
types["special"] = torch.tensor([float("inf"), -float("inf"), float("nan"), -0.0, 1e-45, 65504.0])
types["small_half"] = torch.tensor([6e-8, -6e-5, 65504.0], dtype=torch.float16)
save("types", types)

views = {
    "transposed": base.t(), "rows": base[2:5], "columns": base[:, 1:6:2], "steps": base[::2, ::3],
    "scalar": base[3, 4], "empty": base[:0], "expanded": base[:1, :1].expand(5, 9),
    "permuted": torch.randn(2, 3, 4, 5).permute(3, 1, 0, 2), "whole": base,
    "tied": base, "channels_last": torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last),
    "ndim8": torch.randn(1, 2, 1, 2, 1, 2, 1, 2).transpose(1, 7),
}
save("views", views)
old = {k: v for k, v in views.items()}
save("views_legacy", old, _use_new_zipfile_serialization=False)
save("views_protocol4", views, pickle_protocol=4)

model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
optimizer = torch.optim.Adam(model.parameters())
model(torch.randn(5, 3)).sum().backward()
optimizer.step()
checkpoint = {
    "epoch": 3, "name": "run", "state_dict": model.state_dict(), "optimizer": optimizer.state_dict(),
    "scaler": None, "best": 0.25, "flags": (True, False), "big": 1 << 80, "negative": -5,
    "device": torch.device("cpu"), "size": torch.Size([2, 3]), "dtype": torch.float16,
    "history": [0.5, [1, 2], {"a": (3,)}], "bytes": b"\x00\xff", "set": {1, 2},
    "counter": collections.Counter("aab"), "list": [torch.ones(2), (torch.zeros(1), "x")],
    7: torch.arange(3), "\u00e9 key": torch.arange(2), "parameter": torch.nn.Parameter(torch.ones(2)),
    "complex": 1 + 2j,
}
save("checkpoint", checkpoint)
save("checkpoint_legacy", checkpoint, _use_new_zipfile_serialization=False)
save("checkpoint_protocol5", checkpoint, pickle_protocol=5)
p = torch.nn.Parameter(torch.arange(4.0))
p.note = "an attribute"
save("subclass", {"p": p})
save("tensor", torch.arange(6.0).reshape(2, 3))
torch.save(torch.nn.Linear(2, 2), os.path.join(here, "weights_module.pt"))
torch.save({"a": torch.zeros(2, dtype=torch.complex64)}, os.path.join(here, "weights_complex.pt"))
torch.jit.script(torch.nn.Linear(2, 2)).save(os.path.join(here, "weights_script.pt"))
save_file(wanted, os.path.join(here, "weights_expected.safetensors"))
print(len(wanted), "tensors", file=sys.stderr)
