"""Golden files of SAM and MobileSAM, tiny layouts of the original classes.

Needs torch, segment_anything and mobile_sam (TinyViT's original source).  Writes, beside this file:
  sam_tiny.safetensors       a checkpoint (f16) with a ViT encoder
  sam_tiny_out.safetensors   prompts and outputs of every stage
  sam_tiny_grad{1,2}         gradients of all parameters
  tinyvit_tiny*.safetensors  the same for a TinyViT encoder
Images and the upstream gradients of outputs are wave(seed), a formula the C test repeats.
"""
import os
import numpy as np
import torch
from torch import nn
from safetensors.torch import save_file
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam
from segment_anything.modeling import TwoWayTransformer
from segment_anything.modeling.common import LayerNorm2d
from segment_anything.utils.transforms import ResizeLongestSide
from mobile_sam.modeling.tiny_vit_sam import TinyViT, Attention

HERE = os.path.dirname(os.path.abspath(__file__))
DIM = 16


def wave(shape, seed):
    i = torch.arange(int(np.prod(shape)), dtype=torch.int64)
    return (((i * 7919 + seed * 104729) % 2003).double() / 2003 - 0.5).float().reshape(shape)


def save(name, tensors, meta=None):
    path = os.path.join(HERE, name + ".safetensors")
    save_file({k: v.detach().contiguous().clone() for k, v in tensors.items()}, path, meta)
    os.chmod(path, 0o644)
    size = os.path.getsize(path)
    print(name, size)
    assert size < 65536


def randomise(model):
    """Values that f16 holds exactly, large enough that every term matters."""
    g = torch.Generator().manual_seed(7)
    state = model.state_dict()
    for name, v in state.items():
        if not v.is_floating_point():
            continue
        r = torch.randn(v.shape, generator=g)
        if "norm" in name or ".bn." in name or name.endswith((".1.weight", ".4.weight")):
            r = 1 + 0.2 * r if name.endswith("weight") else 0.2 * r
            if name.endswith("running_var"):
                r = 1 + r.abs()
        elif v.ndim >= 2 and "gaussian" not in name:
            fan = v[0].numel() if "embed" not in name and "rel_pos" not in name else 4
            r = r * 1.2 / fan ** 0.5
        elif v.ndim == 1:
            r = r * 0.2
        v.copy_(r.half().float())
    model.load_state_dict(state)


def heads_of(grid, image, depth=2, masks=3, wide=16):
    prompt = PromptEncoder(embed_dim=DIM, image_embedding_size=(grid, grid),
                           input_image_size=(image, image), mask_in_chans=wide)
    decoder = MaskDecoder(
        num_multimask_outputs=masks, transformer_dim=DIM, iou_head_depth=3, iou_head_hidden_dim=12,
        transformer=TwoWayTransformer(depth=depth, embedding_dim=DIM, mlp_dim=24, num_heads=2))
    return prompt, decoder


def cases(grid, image):
    """(name, images used, boxes, xy, labels, mask, multimask)"""
    g = torch.Generator().manual_seed(3)
    u = lambda *s: torch.rand(*s, generator=g) * image
    mask = lambda n: torch.randn(n, 1, 4 * grid, 4 * grid, generator=g) * 3
    lab = lambda *rows: torch.tensor(rows, dtype=torch.int64)
    return [("box", [0], u(2, 4), None, None, None, False),
            ("points", [0], None, u(2, 2, 2), lab([1, 0], [1, 1]), None, True),
            ("both", [1], u(1, 4), u(1, 3, 2), lab([1, -1, 0]), None, False),
            ("mask", [0, 1], u(2, 4), None, None, mask(2), True),
            ("none", [1], None, None, None, None, False)]


def decode(sam, emb, boxes, xy, labels, mask, multimask):
    points = None if xy is None else (xy, labels)
    sparse, dense = sam.prompt_encoder(points=points, boxes=boxes, masks=mask)
    return sam.mask_decoder(image_embeddings=emb, image_pe=sam.prompt_encoder.get_dense_pe(),
                            sparse_prompt_embeddings=sparse, dense_prompt_embeddings=dense,
                            multimask_output=multimask)


def run_cases(sam, emb, out):
    """Outputs of all cases; returns the loss whose gradients are stored."""
    loss, grid = 0, emb.shape[-1]
    for k, (name, images, boxes, xy, labels, mask, multi) in enumerate(
            cases(grid, sam.image_encoder.img_size)):
        if len(images) == 1:
            logits, iou = decode(sam, emb[images], boxes, xy, labels, mask, multi)
        else:
            one = lambda t, i: None if t is None else t[i:i + 1]
            parts = [decode(sam, emb[j:j + 1], one(boxes, i), one(xy, i), one(labels, i),
                            one(mask, i), multi) for i, j in enumerate(images)]
            logits, iou = (torch.cat(p) for p in zip(*parts))
        for key, v in (("boxes", boxes), ("xy", xy), ("labels", labels), ("mask", mask),
                       ("logits", logits), ("iou", iou)):
            if v is not None:
                out[f"{name}.{key}"] = v
        loss = loss + (logits * wave(logits.shape, k)).sum() + (iou * wave(iou.shape, 50 + k)).sum()
    return loss


def frame(sam, logits, out):
    """Picture to model and back, for a 29 x 17 picture."""
    w, h, side = 29, 17, sam.image_encoder.img_size
    g = torch.Generator().manual_seed(5)
    rgb = torch.randint(0, 256, (h, w, 3), generator=g, dtype=torch.uint8)
    t = ResizeLongestSide(side)
    x = torch.as_tensor(t.apply_image(rgb.numpy())).permute(2, 0, 1)[None]
    xy = torch.rand(40, 2, generator=g, dtype=torch.float64) * w
    out["frame.rgb"] = rgb
    out["frame.image"] = sam.preprocess(x.float())
    out["frame.xy"] = xy.float()    # the test widens these again
    xy = out["frame.xy"].double()
    out["frame.predict"] = torch.as_tensor(t.apply_coords(xy.numpy(), (h, w))).float()
    out["frame.torch"] = t.apply_coords_torch(xy.float(), (h, w))
    out["frame.masks"] = sam.postprocess_masks(logits[:1], tuple(x.shape[-2:]), (h, w))


def grads(model, names):
    p = dict(model.named_parameters())
    return {n: torch.zeros_like(p[n]) if p[n].grad is None else p[n].grad for n in names}


def make_vit():
    torch.manual_seed(0)
    grid, image = 6, 24
    encoder = ImageEncoderViT(
        img_size=image, patch_size=4, embed_dim=16, depth=3, num_heads=2, mlp_ratio=2, out_chans=DIM,
        norm_layer=lambda d: nn.LayerNorm(d, eps=1e-6), use_rel_pos=True, window_size=4,
        global_attn_indexes=(1,))
    prompt, decoder = heads_of(grid, image)
    sam = Sam(encoder, prompt, decoder)
    randomise(sam)
    save("sam_tiny", {k: v.half() for k, v in sam.state_dict().items()},
         {"mcs.config": '{"decoder_heads": 2}'})
    emb = sam.image_encoder(wave((2, 3, image, image), 11) * 4)
    out = {"embedding": emb}
    loss = run_cases(sam, emb, out)
    frame(sam, out["box.logits"], out)
    loss.backward()
    save("sam_tiny_out", out)
    names = [n for n, _ in sam.named_parameters()]
    save("sam_tiny_grad1", grads(sam, [n for n in names if n.startswith("image_encoder")]))
    save("sam_tiny_grad2", grads(sam, [n for n in names if not n.startswith("image_encoder")]))


def tiny_features(m, x):
    x = m.patch_embed(x)
    for layer in m.layers:
        x = layer(x)
    g = int(x.shape[1] ** 0.5)      # the original writes 64
    return m.neck(x.view(len(x), g, g, -1).permute(0, 3, 1, 2))


def make_tinyvit():
    torch.manual_seed(0)
    image = 64
    m = TinyViT(img_size=image, num_classes=3, embed_dims=[8, 8, 16, 16], depths=[1, 1, 1, 1],
                num_heads=[1, 2, 2, 4], window_sizes=[7, 3, 4, 3], drop_path_rate=0.0)
    m.neck = nn.Sequential(nn.Conv2d(16, DIM, 1, bias=False), LayerNorm2d(DIM),
                           nn.Conv2d(DIM, DIM, 3, padding=1, bias=False), LayerNorm2d(DIM))
    m.layers[2].downsample.conv2.c.stride = (1, 1)  # the original does so for 320 channels
    m.forward = lambda x: tiny_features(m, x)
    prompt, decoder = heads_of(image // 16, image, depth=1, masks=1, wide=8)
    sam = Sam(m, prompt, decoder)
    randomise(sam)
    save("tinyvit_tiny", {k: v.half() if v.is_floating_point() else v
                          for k, v in sam.state_dict().items()
                          if "num_batches" not in k or "seq.0" in k},
         {"mcs.config": '{"decoder_heads": 2, "image": 64}'})
    x = wave((2, 3, image, image), 11) * 4
    sam.eval()
    for mod in sam.modules():       # in eval mode the original freezes the bias table
        if isinstance(mod, Attention):
            mod.training = True
    emb = sam.image_encoder(x)
    out = {"embedding": emb}
    (emb * wave(emb.shape, 0)).sum().backward()
    sam.train()
    with torch.no_grad():
        out["embedding.train"] = sam.image_encoder(x)
    save("tinyvit_tiny_out", out)
    save("tinyvit_tiny_grad", grads(sam, [n for n, _ in sam.named_parameters()
                                          if n.startswith("image_encoder") and "head." not in n]))


make_vit()
make_tinyvit()
