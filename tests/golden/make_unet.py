"""Golden files of the Residual UNet: MONAI's UNet in small layouts.

Needs torch and monai.  Writes, beside this file, for every case:
  unet_<case>.safetensors      a checkpoint
  unet_<case>_out.safetensors  "out.<mode>": logits for the images wave(seed 3), mode eval or train;
                               "grad.<name>": gradients of sum(logits * wave(seed 0)) in that mode;
                               "stats.<name>": running statistics after one training forward;
                               "steps.loss", "steps.out": ten steps of AdamW (lr 2e-3, decay 1e-2) on
                               Dice + BCE with targets wave(seed 5) > 0, and the logits afterwards
Everything is computed in double, so that a file is the exact answer rounded once.
"""
import os
import numpy as np
import torch
from monai.networks.nets import UNet
from safetensors.torch import save_file

HERE = os.path.dirname(os.path.abspath(__file__))

# name: (arguments of UNet, shape of the images, mode of the gradients)
CASES = {
    "res2": (dict(in_channels=3, out_channels=1, channels=(4, 6, 8), strides=(2, 2),
                  num_res_units=2), (3, 3, 12, 20), "train"),
    "res0": (dict(in_channels=2, out_channels=3, channels=(3, 5, 4), strides=(2, 3), num_res_units=0,
                  norm="batch", act=("leakyrelu", {"negative_slope": 0.1}), bias=False),
             (3, 2, 18, 12), "eval"),
    "res1": (dict(in_channels=1, out_channels=2, channels=(4, 4, 6, 5), strides=(2, 1, 2),
                  num_res_units=1, norm="batch", act="relu", kernel_size=3, up_kernel_size=5),
             (2, 1, 8, 12), "train"),
    "affine": (dict(in_channels=3, out_channels=1, channels=(5, 7), strides=(2,), num_res_units=3,
                    norm=("instance", {"affine": True}), kernel_size=5), (1, 3, 6, 10), "eval"),
}


def wave(shape, seed):
    i = torch.arange(int(np.prod(shape)), dtype=torch.int64)
    return (((i * 7919 + seed * 104729) % 2003).double() / 2003 - 0.5).float().double().reshape(shape)


def make(args):
    """A model in double whose values f32 holds, none of them at its initial value."""
    torch.manual_seed(0)
    net = UNet(spatial_dims=2, **args)
    g = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, v in list(net.named_parameters()) + list(net.named_buffers()):
            if not v.is_floating_point():
                continue
            r = torch.randn(v.shape, generator=g)
            if v.ndim < 2:
                base = 1 if name.endswith(("N.weight", "running_var")) else v
                v.copy_((base + 0.2 * r).abs() if name.endswith("running_var") else base + 0.2 * r)
            else:
                v.copy_(v + 0.2 * r / v[0].numel() ** 0.5)
    return net.double()


def save(name, tensors):
    path = os.path.join(HERE, name + ".safetensors")
    save_file({k: v.detach().float().contiguous().clone() if v.is_floating_point() else v
               for k, v in tensors.items()}, path)
    os.chmod(path, 0o644)
    print(name, os.path.getsize(path))
    assert os.path.getsize(path) < 65536


def train_steps(net, x, out):
    t = (wave((x.shape[0], 1, *x.shape[2:]), 5) > 0).double()
    p = list(net.parameters())      # as mcs_adamw_new(): vectors do not decay
    opt = torch.optim.AdamW([{"params": [v for v in p if v.ndim > 1], "weight_decay": 1e-2},
                             {"params": [v for v in p if v.ndim < 2], "weight_decay": 0}], lr=2e-3)
    losses = []
    for _ in range(10):
        y = net(x)
        p = torch.sigmoid(y).flatten(1)
        dice = (1 - (2 * (p * t.flatten(1)).sum(1) + 1) / (p.sum(1) + t.flatten(1).sum(1) + 1)).mean()
        loss = dice + torch.nn.functional.binary_cross_entropy_with_logits(y, t)
        opt.zero_grad()
        loss.backward()
        opt.step()
        losses.append(loss.item())
    out["steps.loss"] = torch.tensor(losses)
    out["steps.out"] = net(x).detach()


for case, (args, shape, mode) in CASES.items():
    net = make(args)
    x = wave(shape, 3) * 4
    save(f"unet_{case}", net.state_dict())
    out = {}
    net.eval()
    y = net(x)
    out["out.eval"] = y
    if mode == "train":
        net.train()
        y = net(x)
        out["out.train"] = y
        out |= {f"stats.{k}": v.clone() for k, v in net.named_buffers() if v.ndim}
    (y * wave(y.shape, 0)).sum().backward()
    out |= {f"grad.{k}": v.grad for k, v in net.named_parameters()}
    if case == "res2":
        train_steps(net, x, out)
    save(f"unet_{case}_out", out)
