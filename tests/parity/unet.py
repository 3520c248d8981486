"""The Residual UNet at full size against MONAI's.

usage: unet.py [--timing] [--steps N] [--threads N]
Needs torch, monai, safetensors and `make parity`.  A checkpoint crosses both ways for several
layouts: MONAI saves a .pt that ours loads (equal logits), ours saves what load_state_dict takes
strictly (equal tensors).  Then the default layout takes N steps of AdamW on Dice + BCE with a batch
of 8 pictures of 256 x 256 and N threads (2) in both: equal losses.  --timing also runs each side in a
process of its own and reports wall time, processor time and peak memory per step (the first two
steps left out).
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
RUN = os.path.join(ROOT, "build/release/tests/parity/unet_run")
PAPER = dict(in_channels=3, out_channels=1, channels=(16, 32, 64, 128, 256), strides=(2, 2, 2, 2),
             num_res_units=2)
LAYOUTS = {
    "default": PAPER,
    "batch norm": PAPER | dict(norm="batch"),
    "no residual units, 4 classes": PAPER | dict(num_res_units=0, out_channels=4),
    "ReLU, no bias, affine": PAPER | dict(act="relu", bias=False,
                                          norm=("instance", {"affine": True})),
}


def build(args):
    import torch
    from monai.networks.nets import UNet
    torch.manual_seed(1)
    net = UNet(spatial_dims=2, **args)
    g = torch.Generator().manual_seed(2)
    with torch.no_grad():       # no value at its initial one
        for name, v in net.state_dict().items():
            if v.is_floating_point() and v.ndim == 1:
                v.add_(0.1 * torch.rand(v.shape, generator=g))
    return net


def batch(path):
    """Noise with a brighter disc, and the disc."""
    import torch
    from safetensors.torch import save_file
    g = torch.Generator().manual_seed(3)
    y, x = torch.meshgrid(torch.arange(256.), torch.arange(256.), indexing="ij")
    t = torch.stack([((x - 60 - 17 * i) ** 2 + (y - 190 + 15 * i) ** 2 < (25 + 4 * i) ** 2).float()
                     for i in range(8)])[:, None]
    images = torch.rand(8, 3, 256, 256, generator=g) + 0.3 * t - 0.5
    save_file({"images": images.contiguous(), "target": t.contiguous()}, path)


def ours(*args):
    r = subprocess.run([RUN, *args], capture_output=True, text=True)
    if r.returncode:
        sys.exit(r.stderr)
    return json.loads(r.stdout) if r.stdout else None


def crossing(folder):
    import torch
    from safetensors.torch import load_file
    data = os.path.join(folder, "batch.safetensors")
    images = load_file(data)["images"][:2]
    from safetensors.torch import save_file
    two = os.path.join(folder, "two.safetensors")
    save_file({"images": images.contiguous()}, two)
    worst = 0
    for name, args in LAYOUTS.items():
        net = build(args).eval()
        pt, out, back = (os.path.join(folder, f) for f in ("a.pt", "out.safetensors", "b.safetensors"))
        torch.save(net.state_dict(), pt)
        ours("forward", pt, two, out)
        with torch.no_grad():
            y = net(images)
        d = (load_file(out)["logits"] - y).abs().max().item()
        ours("save", pt, back)
        other = build(args | dict(num_res_units=args["num_res_units"]))
        with torch.no_grad():
            for p in other.parameters():
                p.zero_()
        other.load_state_dict(load_file(back), strict=True)
        same = all(torch.equal(a, b) for (k, a), b in
                   zip(net.state_dict().items(), other.state_dict().values()))
        print(f"{name}: logits up to {y.abs().max():.2f}, deviation {d:.1e}; "
              f"saved and loaded back {'equal' if same else 'DIFFERENT'}")
        worst = max(worst, d if same else 1)
    return worst


def theirs(folder, steps, lr, threads):
    """The same training in PyTorch."""
    import torch
    from safetensors.torch import load_file
    torch.set_num_threads(threads)
    data = load_file(os.path.join(folder, "batch.safetensors"))
    net = build(PAPER)
    p = list(net.parameters())
    opt = torch.optim.AdamW([{"params": [v for v in p if v.ndim > 1], "weight_decay": 1e-2},
                             {"params": [v for v in p if v.ndim < 2], "weight_decay": 0}], lr=lr)
    x, t = data["images"], data["target"]
    loss_of, wall, cpu = [], 0, 0
    for i in range(steps):
        w0, c0 = time.monotonic(), time.process_time()
        y = net(x)
        s = torch.sigmoid(y).flatten(1)
        dice = (1 - (2 * (s * t.flatten(1)).sum(1) + 1) / (s.sum(1) + t.flatten(1).sum(1) + 1)).mean()
        loss = dice + torch.nn.functional.binary_cross_entropy_with_logits(y, t)
        opt.zero_grad()
        loss.backward()
        opt.step()
        loss_of.append(loss.item())
        if i >= 2:
            wall, cpu = wall + time.monotonic() - w0, cpu + time.process_time() - c0
    n = max(1, steps - 2)
    peak = [l for l in open("/proc/self/status") if l.startswith("VmHWM")][0]
    return dict(loss=loss_of, wall=wall / n, cpu=cpu / n, peak_mb=int(peak.split()[1]) * 1.024e-3)


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--timing", action="store_true")
    a.add_argument("--steps", type=int, default=8)
    a.add_argument("--lr", type=float, default=1e-3)
    a.add_argument("--threads", type=int, default=2)
    a.add_argument("--theirs", help=argparse.SUPPRESS)
    o = a.parse_args()
    if o.theirs:
        print(json.dumps(theirs(o.theirs, o.steps, o.lr, o.threads)))
        return
    import torch
    with tempfile.TemporaryDirectory() as folder:
        data, pt = os.path.join(folder, "batch.safetensors"), os.path.join(folder, "start.pt")
        batch(data)
        if not o.timing:
            assert crossing(folder) < 1e-4
        torch.save(build(PAPER).state_dict(), pt)
        r = subprocess.run([sys.executable, __file__, "--theirs", folder, "--steps", str(o.steps),
                            "--lr", str(o.lr), "--threads", str(o.threads)], capture_output=True, text=True, check=True)
        them = json.loads(r.stdout.splitlines()[-1])
        us = ours("train", pt, data, str(o.steps), str(o.lr), str(o.threads))
        d = max(abs(x - y) for x, y in zip(us["loss"], them["loss"]))
        print(f"losses {them['loss'][0]:.5f} -> {them['loss'][-1]:.5f} in {o.steps} steps, "
              f"largest difference {d:.1e}")
        if o.timing:
            for name, v in (("PyTorch", them), ("ours", us)):
                print(f"{name}: {v['wall']:.3f} s and {v['cpu']:.3f} processor s a step, "
                      f"peak {v['peak_mb']:.0f} MB"
                      + (f", arena {v['arena_mb']:.0f} MB, forward {v['cpu_forward']:.3f} processor s"
                         if "arena_mb" in v else ""))
            print(f"ours / PyTorch: wall {us['wall'] / them['wall']:.2f}, "
                  f"processor {us['cpu'] / them['cpu']:.2f}, memory {us['peak_mb'] / them['peak_mb']:.2f}")


main()
