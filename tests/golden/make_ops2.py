"""Golden files of products, attention, convolution, pooling and resizing: outputs and gradients.

Needs torch and segment_anything (the original decomposed relative position).  Each file holds
in.0 in.1 ... (optional inputs leave gaps), out, dout, and grad.N for every float input.
"""
import os
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from segment_anything.modeling.image_encoder import add_decomposed_rel_pos

HERE = os.path.dirname(os.path.abspath(__file__))


def randn(*shape):
    return torch.randn(*shape)


def case(name, fn, *inputs):
    """fn(*inputs) in float64, stored as float32."""
    wide = [x.double().requires_grad_() if x is not None and x.is_floating_point() else x
            for x in inputs]
    y = fn(*wide)
    dy = torch.randn(y.shape)
    y.backward(dy.double())
    t = {"out": y.detach().float(), "dout": dy}
    for i, (x, w) in enumerate(zip(inputs, wide)):
        if x is not None:
            t[f"in.{i}"] = x
            if x.is_floating_point():
                t[f"grad.{i}"] = w.grad.float()
    save_file({k: v.contiguous() for k, v in t.items()}, os.path.join(HERE, name + ".safetensors"))


def heads_first(x, heads):
    return x.reshape(x.shape[0], x.shape[1], heads, -1).transpose(1, 2)


def scores(q, k, scale, bias=None, mask=None, rel=None, grid=None):
    """q, k (B,heads,N,D) -> (B,heads,Nq,Nk)"""
    s = scale * q @ k.transpose(-1, -2)
    if bias is not None:
        s = s + bias
    if rel is not None:
        b, h, n, d = q.shape
        s = add_decomposed_rel_pos(s.reshape(b * h, n, n), q.reshape(b * h, n, d), rel[0], rel[1],
                                   grid, grid).reshape(b, h, n, n)
    if mask is not None:
        s = s.masked_fill(mask[:, None, None, :] == 0, float("-inf"))
    return s


def attention(q, k, v, heads, scale=None, **kw):
    q, k, v = (heads_first(x, heads) for x in (q, k, v))
    p = scores(q, k, scale or q.shape[-1] ** -0.5, **kw).softmax(-1)
    return (p @ v).transpose(1, 2).flatten(2)


def products():
    case("matmul_batch", torch.matmul, randn(2, 3, 5, 7), randn(2, 3, 7, 4))
    case("matmul_shared_a", torch.matmul, randn(5, 7), randn(3, 7, 4))
    case("matmul_shared_b", torch.matmul, randn(2, 5, 7), randn(7, 4))
    case("matmul_t_batch", lambda a, b: a @ b.mT, randn(3, 5, 7), randn(3, 4, 7))
    case("matmul_t_shared_a", lambda a, b: a @ b.mT, randn(5, 7), randn(3, 4, 7))
    x, w, b = randn(2, 3, 7), randn(5, 7), randn(5)
    case("linear", F.linear, x, w, b)
    case("linear_no_bias", F.linear, x, w)
    case("linear_gelu", lambda x, w, b: F.gelu(F.linear(x, w, b)), x, w, b)
    case("linear_add", lambda x, w, b, r: r + F.linear(x, w, b), x, w, b, randn(2, 3, 5))


def attentions():
    mask = torch.tensor([[1, 1, 0, 1, 1, 0, 1], [0, 1, 1, 1, 1, 0, 0]], dtype=torch.uint8)
    case("attention_mask_bias",
         lambda q, k, v, b, m: attention(q, k, v, 3, bias=b, mask=m),
         randn(2, 5, 12), randn(2, 7, 12), randn(2, 7, 18), randn(3, 5, 7), mask)
    case("attention_rel",
         lambda q, k, v, b, m, h, w: attention(q, k, v, 2, rel=(h, w), grid=(3, 5)),
         randn(2, 15, 8), randn(2, 15, 8), randn(2, 15, 8), None, None, randn(5, 4), randn(9, 4))
    long_mask = (torch.rand(1, 1100) > 0.3).to(torch.uint8)
    long_mask[:, :600] = 0  # the first block of keys takes no part
    case("attention_long", lambda q, k, v, b, m: attention(q, k, v, 1, scale=2.0, mask=m),
         randn(1, 9, 2), randn(1, 1100, 2), randn(1, 1100, 2), None, long_mask)
    case("attention_packed_rel",
         lambda x, h, w: attention(*x.chunk(3, -1), 1, rel=(h, w), grid=(25, 22)),
         randn(1, 550, 6), randn(49, 2), randn(43, 2))

    def per_head(x, b):
        q, k, v = (t.flatten(2) for t in x.reshape(2, 9, 3, 12).chunk(3, -1))
        return attention(q, k, v, 3, bias=b)
    case("attention_packed_per_head", per_head, randn(2, 9, 36), randn(3, 9, 9))
    case("attention_probs",
         lambda q, k, b, m, h, w: scores(heads_first(q, 2), heads_first(k, 2), 0.5, b, m, (h, w),
                                         (2, 3)).softmax(-1),
         randn(2, 6, 8), randn(2, 6, 8), randn(2, 6, 6), mask[:, :6], randn(3, 4), randn(5, 4))


def convolutions():
    def conv(name, x, w, b, stride=(1, 1), pad=(0, 0), groups=1):
        case(name, lambda x, w, *b: F.conv2d(x, w, b[0] if b else None, stride, pad, 1, groups),
             x, w, *([] if b is None else [b]))
    conv("conv_3x3", randn(2, 3, 7, 9), randn(5, 3, 3, 3), randn(5), (1, 1), (1, 1))
    conv("conv_strided_groups", randn(2, 4, 9, 8), randn(6, 2, 3, 2), None, (2, 3), (1, 2), 2)
    conv("conv_patch", randn(2, 3, 8, 12), randn(5, 3, 4, 4), randn(5), (4, 4))
    conv("conv_1x1", randn(2, 4, 5, 3), randn(6, 2, 1, 1), randn(6), groups=2)
    conv("conv_depthwise", randn(2, 3, 7, 9), randn(3, 1, 3, 3), randn(3), (1, 1), (1, 1), 3)
    conv("conv_depthwise_strided", randn(2, 3, 7, 10), randn(6, 1, 3, 3), randn(6), (2, 2), (1, 1),
         3)
    conv("conv_depthwise_5x4", randn(1, 2, 9, 8), randn(2, 1, 5, 4), None, (2, 1), (1, 3), 2)
    case("conv_transpose_2x2", lambda x, w, b: F.conv_transpose2d(x, w, b, 2),
         randn(2, 3, 4, 5), randn(3, 6, 2, 2), randn(6))
    case("conv_transpose_groups",
         lambda x, w, b: F.conv_transpose2d(x, w, b, (2, 3), (1, 0), (1, 2), 2),
         randn(2, 4, 4, 3), randn(4, 3, 3, 2), randn(6))


def pictures():
    # Distinct values: no ties between neighbours.
    x = torch.randperm(2 * 3 * 7 * 8).float().reshape(2, 3, 7, 8) / 100
    case("max_pool", lambda x: F.max_pool2d(x, 3, 2, 1), x)
    case("avg_pool", lambda x: F.avg_pool2d(x, 3, 2, 1), x)

    def resize(name, h, w, x, **kw):
        # In float32: the place of a sample is rounded as the C code must round it.
        x = x.clone().requires_grad_()
        y = F.interpolate(x, (h, w), **kw)
        dy = torch.randn(y.shape)
        y.backward(dy)
        save_file({"in.0": x.detach(), "out": y.detach(), "dout": dy, "grad.0": x.grad},
                  os.path.join(HERE, name + ".safetensors"))
    resize("resize_up", 11, 9, randn(2, 2, 5, 4), mode="bilinear")
    resize("resize_down", 5, 3, randn(2, 2, 13, 10), mode="bilinear")
    resize("resize_corners", 7, 9, randn(2, 2, 5, 12), mode="bilinear", align_corners=True)
    resize("resize_wide", 2, 683, randn(1, 1, 2, 1000), mode="bilinear")
    resize("resize_nearest", 7, 9, randn(2, 2, 5, 12), mode="nearest")


if __name__ == "__main__":
    torch.manual_seed(0)
    products()
    attentions()
    convolutions()
    pictures()
