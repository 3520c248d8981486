"""Writes tests/golden/<name>.safetensors as check_golden() reads them: in.0, in.1, ..., out, dout
and grad.N for every input that has a gradient.  Run by hand when a case is added; the files are
committed.  Needs PyTorch and safetensors."""
import os
import torch
from safetensors.numpy import save_file

HERE = os.path.dirname(os.path.abspath(__file__))


def rand(seed, *shape, lo=-1.0, hi=1.0):
    """Uniform values in [lo, hi) of a stream of their own."""
    g = torch.Generator().manual_seed(seed)
    return torch.rand(shape, generator=g) * (hi - lo) + lo


def write(name, tensors):
    """tensors: name -> torch tensor.  Every file stays below 64 KB."""
    arrays = {k: v.detach().numpy().copy(order="C") for k, v in tensors.items()}
    path = os.path.join(HERE, name + ".safetensors")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    save_file(arrays, path)
    assert os.path.getsize(path) < 64 * 1024, f"{name}: {os.path.getsize(path)} bytes"


def case(name, fn, *inputs, dtype=torch.float64):
    """One case: fn(*inputs) computed in double, so that the file is the exact answer rounded once.
    None is an absent input."""
    xs = []
    for x in inputs:
        if x is not None and x.is_floating_point():
            x = x.detach().to(dtype).requires_grad_(True)
        xs.append(x)
    y = fn(*xs)
    dy = rand(1234, *y.shape).to(y.dtype)
    y.backward(dy)
    out = {"out": y.float(), "dout": dy.float()}
    for i, x in enumerate(xs):
        if x is None:
            continue
        if x.is_floating_point():
            out[f"in.{i}"] = x.float()
            if x.grad is not None:
                out[f"grad.{i}"] = x.grad.float()
        else:
            out[f"in.{i}"] = x
    write(name, out)
