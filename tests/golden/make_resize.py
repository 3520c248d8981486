"""Golden file of clip_resize: timm's resample_abs_pos_embed and resample_patch_embed on the weights of
clip_tiny.safetensors (18 pixels in patches of 6) for other sizes."""
import os

import torch
from safetensors.torch import load_file, save_file
from timm.layers import resample_abs_pos_embed, resample_patch_embed

HERE = os.path.dirname(os.path.abspath(__file__))
SIZES = ((35, 5), (32, 8), (8, 4), (63, 7))


def main():
    state = load_file(os.path.join(HERE, "clip_tiny.safetensors"))
    out = {}
    for image, patch in SIZES:
        grid = [image // patch] * 2
        pos = state["visual.trunk.pos_embed"].float()
        out["pos.%d" % image] = resample_abs_pos_embed(pos, grid, num_prefix_tokens=1)
        weight = state["visual.trunk.patch_embed.proj.weight"].float()
        out["patch.%d" % image] = resample_patch_embed(weight, [patch, patch])[:4]
    path = os.path.join(HERE, "resize_clip.safetensors")
    save_file({k: v.contiguous().clone() for k, v in out.items()}, path)
    os.chmod(path, 0o644)
    print(os.path.getsize(path))
    assert os.path.getsize(path) < 65536


if __name__ == "__main__":
    main()
