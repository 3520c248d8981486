"""Golden files of BiomedCLIP in a tiny layout: timm's VisionTransformer, open_clip's HFTextEncoder
around transformers' BertModel, put together as open_clip's CustomTextCLIP.

Needs torch, timm, open_clip_torch, transformers.  Writes, beside this file:
  clip_tiny.safetensors       a checkpoint (f16) in open_clip's layout
  clip_tiny_hf.safetensors    the same in the layout of MedCLIP-SAMv2's port
  clip_tiny_out.safetensors   ids, embeddings, logits, a layer and its gradient
  clip_tiny_grad{1,2}         gradients of all parameters
All is computed in double precision; images are wave(seed), a formula the C test repeats."""
import os

import numpy as np
import torch
from open_clip.hf_model import HFTextEncoder
from safetensors.torch import save_file
from timm.models.vision_transformer import VisionTransformer
from torch import nn
from transformers import BertConfig, BertTokenizer

HERE = os.path.dirname(os.path.abspath(__file__))
CAPTIONS = ["Axial CT scan of the chest", "tumor", "left lung nodule, non-small cell carcinoma & mass"]
META = {"mcs.config": '{"vision_heads": 2, "text_heads": 3, "context": 20}'}


def wave(shape, seed):
    i = torch.arange(int(np.prod(shape)), dtype=torch.int64)
    return ((i * 7919 + seed * 104729) % 2003).double().div(2003).sub(0.5).reshape(shape)


class Clip(nn.Module):
    def __init__(self, vocab):
        super().__init__()
        self.visual = nn.Module()
        self.visual.trunk = VisionTransformer(img_size=18, patch_size=6, embed_dim=16, depth=2,
                                              num_heads=2, mlp_ratio=2.5, num_classes=0)
        self.visual.head = nn.Module()
        self.visual.head.proj = nn.Linear(16, 10, bias=False)
        cfg = BertConfig(vocab_size=vocab, hidden_size=24, num_hidden_layers=2, num_attention_heads=3,
                         intermediate_size=36, max_position_embeddings=22)
        self.text = HFTextEncoder("", 10, config=cfg, pooler_type="cls_last_hidden_state_pooler",
                                  proj_type="mlp")
        self.logit_scale = nn.Parameter(torch.tensor(1.25))

    def forward(self, x, ids):
        image, text = self.visual.head.proj(self.visual.trunk(x)), self.text(ids)
        n = nn.functional.normalize
        return image, text, self.logit_scale.exp() * n(image, dim=-1) @ n(text, dim=-1).T


def save(name, tensors, meta=None):
    path = os.path.join(HERE, name + ".safetensors")
    save_file({k: v.detach().contiguous().clone() for k, v in tensors.items()}, path, meta)
    os.chmod(path, 0o644)
    print(name, os.path.getsize(path))
    assert os.path.getsize(path) < 65536


def randomise(model):
    """Values that f16 holds exactly, large enough that every term matters, but a residual stream of the
    image tower so small that its norms' eps does."""
    g = torch.Generator().manual_seed(7)
    small = ("patch_embed", "cls_token", "pos_embed", "attn.proj", "mlp.fc2")
    for name, p in model.named_parameters():
        r = torch.randn(p.shape, generator=g) * (0.02 if name.startswith("visual") and
                                                 any(k in name for k in small) else 1)
        if "norm" in name.lower():
            r = 1 + 0.2 * r if name.endswith("weight") else 0.2 * r
        elif p.ndim == 4 or (p.ndim == 2 and "embeddings" not in name):
            r = r * 1.3 / p[0].numel() ** 0.5
        else:
            r = r * 0.5
        if p.ndim:
            p.data = r.half().float()


def hf_names(state):
    """MedCLIP-SAMv2's names, written after its convert.py."""
    out = {"logit_scale": state["logit_scale"],
           "vision_model.embeddings.class_embedding": state["visual.trunk.cls_token"].squeeze(),
           "vision_model.embeddings.position_embedding.weight": state["visual.trunk.pos_embed"].squeeze(),
           "visual_projection.weight": state["visual.head.proj.weight"],
           "text_projection.fc1.weight": state["text.proj.0.weight"],
           "text_projection.fc2.weight": state["text.proj.2.weight"]}
    for k, v in state.items():
        leaf = k.split(".")[-1]
        if "patch_embed" in k:
            out["vision_model.embeddings.patch_embedding." + leaf] = v
        elif k.startswith("visual.trunk.norm."):
            out["vision_model.post_layernorm." + leaf] = v
        elif k.startswith("visual.trunk.blocks."):
            i, rest = k.split(".", 4)[3:]
            head = "vision_model.encoder.layers.%s." % i
            if "qkv" in rest:
                for n, part in zip("qkv", v.chunk(3)):
                    out[head + "self_attn.%s_proj.%s" % (n, leaf)] = part
            else:
                rest = rest.replace("norm", "layer_norm").replace("attn.proj", "self_attn.out_proj")
                out[head + rest] = v
        elif k.startswith("text.transformer.embeddings."):
            k = k[len("text.transformer.embeddings."):]
            k = (k.replace("word_embeddings", "token_embedding").replace("LayerNorm", "layer_norm")
                 .replace("position_embeddings", "position_embedding")
                 .replace("token_type_embeddings", "token_type_embedding"))
            out["text_model.embeddings." + k] = v
        elif k.startswith("text.transformer.encoder."):
            i, rest = k.split(".", 5)[4:]
            for a, b in (("attention.self.query", "self_attn.q_proj"), ("attention.self.key", "self_attn.k_proj"),
                         ("attention.self.value", "self_attn.v_proj"),
                         ("attention.output.dense", "self_attn.out_proj"),
                         ("attention.output.LayerNorm", "layer_norm1"), ("intermediate.dense", "mlp.fc1"),
                         ("output.dense", "mlp.fc2"), ("output.LayerNorm", "layer_norm2")):
                if rest.startswith(a):
                    rest = b + rest[len(a):]
                    break
            out["text_model.encoder.layers.%s.%s" % (i, rest)] = v
    return out


def main():
    with open(os.path.join(HERE, "tokens_vocab.txt"), encoding="utf-8") as f:
        table = {t.rstrip("\n"): i for i, t in enumerate(f)}
    torch.manual_seed(0)
    model = Clip(len(table)).eval()
    randomise(model)
    state = {k: v for k, v in model.state_dict().items() if "position_ids" not in k and "pooler" not in k}
    save("clip_tiny", {k: v.half() for k, v in state.items()}, META)
    save("clip_tiny_hf", {"model." + k: v.half() for k, v in hf_names(state).items()}, META)

    bert = BertTokenizer(vocab=table)
    ids = bert(CAPTIONS, max_length=20, padding="max_length", truncation=True, return_tensors="pt").input_ids
    model.double()
    out = {"ids": ids}
    keep = {}

    def see(module, inputs, y):
        keep["layer"] = y
        y.retain_grad()

    model.visual.trunk.blocks[1].norm2.register_forward_hook(see)
    trunk_out = {}
    model.text.transformer.encoder.layer[0].register_forward_hook(
        lambda m, i, y: trunk_out.update(y=y[0] if isinstance(y, tuple) else y))
    image, text, logits = model(wave((2, 3, 18, 18), 11) * 4, ids)
    (logits * wave(logits.shape, 5)).sum().backward()
    out.update(image=image, text=text, logits=logits, layer=keep["layer"], layer_grad=keep["layer"].grad,
               text_layer0=trunk_out["y"], tokens=model.visual.trunk.forward_features(wave((2, 3, 18, 18), 11) * 4))
    save("clip_tiny_out", {k: v.float() if v.is_floating_point() else v for k, v in out.items()})
    params = dict(model.named_parameters())
    for i, tower in enumerate(("text.", "visual.")):
        save("clip_tiny_grad%d" % (i + 1), {k: p.grad.float() for k, p in params.items()
                                           if p.grad is not None and (k.startswith(tower) or "." not in k)})


if __name__ == "__main__":
    main()
