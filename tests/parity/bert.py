"""A trained BERT against transformers: hidden states and sentence similarities.

usage: bert.py FOLDER      with model.safetensors, config.json and vocab.txt (e.g. all-MiniLM-L6-v2)
Needs torch, transformers; first run `make parity`.  Exit status 1 unless ids are equal and every
token's hidden state has cosine >= 0.999999 with PyTorch's float64 one."""
import json
import os
import subprocess
import sys
import tempfile

import torch
from safetensors.torch import load_file
from transformers import BertConfig, BertModel, BertTokenizer

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TEXTS = ["A chest X-ray with a nodule in the right lung.", "Radiograph of the thorax: right pulmonary nodule.",
         "MRI of the brain, contrast-enhancing tumour", "The cat sat on the mat.", "", "lung",
         "Café naïve — 5 × 10⁻³ mm²/s " * 20]


def main(folder):
    cfg = json.load(open(os.path.join(folder, "config.json")))
    weights, vocab = os.path.join(folder, "model.safetensors"), os.path.join(folder, "vocab.txt")
    with tempfile.TemporaryDirectory() as t:
        texts, out = os.path.join(t, "texts"), os.path.join(t, "out")
        open(texts, "w", encoding="utf-8").write("\n".join(TEXTS) + "\n")
        sizes = [cfg[k] for k in ("vocab_size", "max_position_embeddings", "hidden_size", "num_hidden_layers",
                                  "num_attention_heads", "intermediate_size")]
        subprocess.check_call([os.path.join(ROOT, "build/release/tests/parity/bert_dump"), weights, "", vocab,
                               texts, out] + [str(s) for s in sizes])
        ours = load_file(out)
    model = BertModel(BertConfig(**cfg), add_pooling_layer=False).eval()
    model.load_state_dict({k: v for k, v in load_file(weights).items() if "pooler" not in k}, strict=False)
    bert = BertTokenizer(vocab={w.rstrip("\n"): i for i, w in enumerate(open(vocab, encoding="utf-8"))})
    x = bert(TEXTS, padding=True, truncation=True, max_length=256, return_tensors="pt")
    with torch.no_grad():
        single = model(x.input_ids, x.attention_mask).last_hidden_state
        exact = model.double()(x.input_ids, x.attention_mask).last_hidden_state
    keep = x.attention_mask.bool()
    same = torch.equal(ours["ids"], x.input_ids)
    a, b, s = ours["hidden"][keep].double(), exact[keep], single[keep].double()
    cos = float(torch.nn.functional.cosine_similarity(a, b, dim=-1).min())
    scale = float(b.abs().max())
    print("ids equal: %s; %d tokens, largest error %.2e (PyTorch float32 %.2e), smallest cosine 1 - %.1e"
          % (same, len(a), float((a - b).abs().max()) / scale, float((s - b).abs().max()) / scale, 1 - cos))
    w = keep[..., None].double()
    mean = lambda h: torch.nn.functional.normalize((h.double() * w).sum(1) / w.sum(1), dim=-1)
    print("similarity of the first text with the others:", [round(float(v), 4) for v in mean(ours["hidden"])[0] @
                                                           mean(ours["hidden"])[1:].T])
    good = same and cos >= 0.999999
    print("PASS" if good else "FAIL")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
