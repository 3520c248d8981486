"""Golden files of SAM's training: losses and gradients of one step, losses of three AdamW steps, for
the tiny layout of make_sam.py (its checkpoint sam_tiny.safetensors is read).

Needs torch, segment_anything.  Writes, beside this file:
  sam_train           boxes, targets, losses of every term, losses of three steps
  sam_train_grad{1,2} gradients of the first step, all parameters (encoder; the rest)
Images are wave(seed), a formula that the C test repeats.  MONAI's DiceLoss(sigmoid, squared_pred)
and torchvision's focal loss are written out.
"""
import os
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from safetensors.torch import load_file, save_file
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam
from segment_anything.modeling import TwoWayTransformer

HERE = os.path.dirname(os.path.abspath(__file__))
GRID, IMAGE, DIM, PICTURES = 6, 24, 16, 2


def wave(shape, seed):
    i = torch.arange(int(np.prod(shape)), dtype=torch.int64)
    return (((i * 7919 + seed * 104729) % 2003).double() / 2003 - 0.5).float().reshape(shape)


def tiny():
    encoder = ImageEncoderViT(
        img_size=IMAGE, patch_size=4, embed_dim=16, depth=3, num_heads=2, mlp_ratio=2,
        out_chans=DIM, norm_layer=lambda d: nn.LayerNorm(d, eps=1e-6), use_rel_pos=True,
        window_size=4, global_attn_indexes=(1,))
    prompt = PromptEncoder(embed_dim=DIM, image_embedding_size=(GRID, GRID),
                           input_image_size=(IMAGE, IMAGE), mask_in_chans=16)
    decoder = MaskDecoder(
        num_multimask_outputs=3, transformer_dim=DIM, iou_head_depth=3, iou_head_hidden_dim=12,
        transformer=TwoWayTransformer(depth=2, embedding_dim=DIM, mlp_dim=24, num_heads=2))
    sam = Sam(encoder, prompt, decoder)
    state = load_file(os.path.join(HERE, "sam_tiny.safetensors"))
    sam.load_state_dict({k: v.float() for k, v in state.items()})
    return sam


def dice(x, t, smooth, squared):
    p = x.sigmoid().flatten(1)
    t = t.flatten(1)
    a, b = (p ** 2, t ** 2) if squared else (p, t)
    return (1 - (2 * (p * t).sum(1) + smooth) / (a.sum(1) + b.sum(1) + smooth)).mean()


def focal(x, t, alpha=0.25, gamma=2):
    p, ce = x.sigmoid(), F.binary_cross_entropy_with_logits(x, t, reduction="none")
    pt = p * t + (1 - p) * (1 - t)
    return ((alpha * t + (1 - alpha) * (1 - t)) * (1 - pt) ** gamma * ce).mean()


def iou_mse(x, q, t):
    a, b = x > 0, t >= 0.5
    true = (a & b).flatten(1).sum(1) / (a | b).flatten(1).sum(1).clamp(min=1)
    return ((q.flatten() - true.detach()) ** 2).mean()


def forward(sam, boxes, counts):
    logits, ious, at = [], [], 0
    emb = sam.image_encoder(wave((PICTURES, 3, IMAGE, IMAGE), 11) * 4)
    for i, n in enumerate(counts):
        sparse, dense = sam.prompt_encoder(points=None, boxes=boxes[at:at + n], masks=None)
        x, q = sam.mask_decoder(image_embeddings=emb[i:i + 1],
                                image_pe=sam.prompt_encoder.get_dense_pe(),
                                sparse_prompt_embeddings=sparse, dense_prompt_embeddings=dense,
                                multimask_output=False)
        logits.append(x)
        ious.append(q)
        at += n
    return torch.cat(logits), torch.cat(ious)


def save(name, tensors):
    path = os.path.join(HERE, name + ".safetensors")
    save_file({k: v.detach().float().contiguous().clone() for k, v in tensors.items()}, path)
    os.chmod(path, 0o644)
    print(name, os.path.getsize(path))
    assert os.path.getsize(path) < 65536


def main():
    counts = [1, 2]
    boxes = torch.tensor([[2.5, 3, 15, 20], [0, 1, 9.25, 12], [8, 7.5, 24, 23]])
    yy, xx = torch.meshgrid(torch.arange(4 * GRID), torch.arange(4 * GRID), indexing="ij")
    target = torch.stack([((xx + .5 > b[0]) & (xx + .5 < b[2]) & (yy + .5 > b[1]) &
                           (yy + .5 < b[3])).float() for b in boxes])[:, None]
    target[1, 0, 3, 3] = 0.25           # shares of cells, as the area target has them
    target[2, 0, 12, 12] = 0.75
    out = {"boxes": boxes, "target": target, "counts": torch.tensor(counts)}
    sam = tiny()
    opt = torch.optim.AdamW([{"params": [p for p in sam.parameters() if p.ndim >= 2]},
                             {"params": [p for p in sam.parameters() if p.ndim < 2],
                              "weight_decay": 0}],
                            lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01)
    losses = []
    for step in range(3):
        opt.zero_grad()
        x, q = forward(sam, boxes, counts)
        terms = {"dice": dice(x, target, 1e-5, True), "plain": dice(x, target, 1, False),
                 "bce": F.binary_cross_entropy_with_logits(x, target),
                 "focal": focal(x, target), "iou": iou_mse(x, q, target)}
        loss = terms["dice"] + terms["bce"] + 5 * terms["focal"] + 0.2 * terms["iou"]
        loss.backward()
        losses.append(loss.detach())
        if step == 0:
            out.update({"term." + k: v for k, v in terms.items()})
            grad = {n: p.grad if p.grad is not None else torch.zeros_like(p)
                    for n, p in sam.named_parameters()}
            save("sam_train_grad1", {n: g for n, g in grad.items() if n.startswith("image_enc")})
            save("sam_train_grad2", {n: g for n, g in grad.items()
                                     if not n.startswith("image_enc")})
        opt.step()
    out["losses"] = torch.stack(losses)
    save("sam_train", out)


main()
