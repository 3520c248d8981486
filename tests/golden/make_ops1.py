"""Cases of the elementwise, normalisation, reduction and shape operations.  See golden.py."""
import torch
import torch.nn.functional as F
import golden
from golden import rand, write


def case(name, *args):
    golden.case("ops/" + name, *args)


# Elementwise, two inputs
PAIRS = {
    "same": ((3, 5, 7), (3, 5, 7)),
    "row": ((4, 3, 13), (13,)),
    "scalar": ((5, 7), ()),
    "channel": ((2, 5, 3, 7), (5, 1, 1)),
    "both": ((2, 1, 5, 1), (3, 1, 7)),
    "batch": ((1, 5, 3), (6, 5, 3)),
    "long": ((71, 43), (43,)),
}
OPS = {"add": torch.add, "sub": torch.sub, "mul": torch.mul, "div": torch.div}
for op, fn in OPS.items():
    for kind, (a, b) in PAIRS.items():
        if kind == "long" and op not in ("add", "div"):
            continue
        case(f"{op}_{kind}", fn, rand(1, *a), rand(2, *b, lo=0.5, hi=2.0))

# Elementwise, one input
UNARY = {
    "exp": (torch.exp, -4, 4), "log": (torch.log, 0.1, 4), "sqrt": (torch.sqrt, 0.1, 4),
    "square": (torch.square, -2, 2), "abs": (torch.abs, -2, 2), "sin": (torch.sin, -7, 7),
    "cos": (torch.cos, -7, 7), "tanh": (torch.tanh, -4, 4), "relu": (F.relu, -2, 2),
    "sigmoid": (torch.sigmoid, -8, 8), "gelu": (F.gelu, -6, 6),
    "clamp": (lambda x: torch.clamp(x, -0.5, 0.75), -2, 2),
    "affine": (lambda x: -1.5 * x + 0.25, -2, 2),
}
for op, (fn, lo, hi) in UNARY.items():
    case(f"{op}_1", fn, rand(3, 7, 13, 5, lo=lo, hi=hi))
case("prelu_channel", F.prelu, rand(4, 2, 5, 3, 7), rand(5, 5))
case("prelu_shared", F.prelu, rand(6, 3, 4, 7), rand(7, 1))

# Softmax
case("softmax_1", lambda x: F.softmax(x, -1), rand(8, 3, 5, 37, lo=-5, hi=5))
case("log_softmax_1", lambda x: F.log_softmax(x, -1), rand(9, 3, 5, 37, lo=-5, hi=5))
case("logsumexp_1", lambda x: torch.logsumexp(x, -1), rand(10, 3, 5, 37, lo=-5, hi=5))
case("logsumexp_long", lambda x: torch.logsumexp(x, -1), rand(11, 2, 1103, lo=-5, hi=5))

# Normalisation
def layer_norm(x, w, b):
    return F.layer_norm(x, x.shape[-1:], w, b, 1e-5)

case("layer_norm_1", layer_norm, rand(12, 3, 7, 43, lo=1, hi=4), rand(13, 43), rand(14, 43))
case("layer_norm_plain", layer_norm, rand(15, 5, 13, lo=-2, hi=4), None, None)
case("layer_norm_weight", layer_norm, rand(16, 5, 13, lo=-2, hi=4), rand(17, 13), None)
case("layer_norm_bias", layer_norm, rand(18, 5, 13, lo=-2, hi=4), None, rand(19, 13))
case("layer_norm_rows", layer_norm, rand(20, 301, 7, lo=-2, hi=4), rand(21, 7), rand(22, 7))


def layer_norm_2d(x, w, b):
    u = x.mean(1, keepdim=True)
    s = (x - u).pow(2).mean(1, keepdim=True)
    x = (x - u) / torch.sqrt(s + 1e-6)
    return w[:, None, None] * x + b[:, None, None]


case("layer_norm_2d_1", layer_norm_2d, rand(23, 2, 11, 5, 7, lo=1, hi=4), rand(24, 11), rand(25, 11))
case("layer_norm_2d_wide", layer_norm_2d, rand(26, 1, 3, 29, 31, lo=1, hi=4), rand(27, 3), rand(28, 3))
case("l2_normalize_1", lambda x: F.normalize(x, dim=-1, eps=1e-12), rand(29, 3, 5, 23))
case("l2_normalize_clipped", lambda x: F.normalize(x, dim=-1, eps=3.0), rand(30, 4, 23, lo=-1.2, hi=1.2))


def batch_norm(training):
    def fn(x, w, b, mean, var):
        return F.batch_norm(x, mean.detach().clone(), var.detach().clone(), w, b, training, 0.1, 1e-5)
    return fn


def stats(seed, n):
    return rand(seed, n), rand(seed + 1, n, lo=0.5, hi=2.0)


for mode, training in (("train", True), ("eval", False)):
    for kind, shape in (("2d", (3, 5, 4, 7)), ("1d", (6, 5)), ("3d", (2, 5, 9))):
        case(f"batch_norm_{mode}_{kind}", batch_norm(training), rand(31, *shape, lo=1, hi=3),
             rand(32, 5), rand(33, 5), *stats(34, 5))
case("batch_norm_train_plain", batch_norm(True), rand(36, 3, 5, 4, 7), None, None, *stats(34, 5))
m, v = (s.double() for s in stats(34, 5))
F.batch_norm(rand(31, 3, 5, 4, 7, lo=1, hi=3).double(), m, v, None, None, True, 0.1, 1e-5)
write("ops/batch_norm_running", {"mean": m.float(), "var": v.float()})


def instance_norm(x, w, b):
    return F.instance_norm(x, None, None, w, b, True, 0.1, 1e-5)


case("instance_norm_1", instance_norm, rand(37, 3, 5, 6, 7, lo=1, hi=3), rand(38, 5), rand(39, 5))
case("instance_norm_plain", instance_norm, rand(40, 2, 5, 33, lo=1, hi=3), None, None)

# Reductions
case("sum_1", torch.sum, rand(41, 3, 5, 7))
case("mean_1", torch.mean, rand(42, 3, 5, 7))
for d in (0, 1, 2):
    case(f"sum_dim_{d}", lambda x: x.sum(d), rand(43, 5, 3, 7))
    case(f"mean_dim_{d}", lambda x: x.mean(d, keepdim=True), rand(44, 5, 3, 7))
    case(f"max_dim_{d}", lambda x: x.max(d).values, rand(45, 5, 3, 7))
case("sum_dim_tall", lambda x: x.sum(0), rand(46, 301, 17))
ties = torch.tensor([[1.0, 3.0, 3.0, 2.0], [5.0, 5.0, 5.0, 5.0]])
case("max_dim_ties", lambda x: x.max(1).values, ties)

# Shapes
case("reshape_1", lambda x: x.reshape(7, 2, 15), rand(47, 5, 6, 7))
case("rows_1", lambda x: x[2:5], rand(48, 7, 3, 5))
for name, shape, axes in (("021", (3, 5, 7), (0, 2, 1)), ("0213", (2, 3, 5, 7), (0, 2, 1, 3)),
                          ("210", (3, 5, 7), (2, 1, 0)), ("120", (34, 3, 35), (1, 2, 0)),
                          ("0231", (2, 3, 33, 5), (0, 2, 3, 1)),
                          ("041352", (2, 3, 2, 5, 2, 3), (0, 4, 1, 3, 5, 2)),
                          ("543210", (2, 3, 2, 5, 2, 3), (5, 4, 3, 2, 1, 0)),
                          ("ones", (1, 5, 1, 7), (2, 3, 0, 1))):
    case(f"permute_{name}", lambda x: x.permute(*axes) * 1, rand(49, *shape))
case("slice_0", lambda x: x[1:4], rand(50, 7, 3, 5))
case("slice_1", lambda x: x[:, 1:3], rand(51, 7, 3, 5))
case("slice_2", lambda x: x[:, :, 2:5], rand(52, 7, 3, 5))
for d in (0, 1, 2):
    shapes = [[3, 4, 5], [3, 4, 5], [3, 4, 5]]
    shapes[1][d] = 2
    shapes[2][d] = 7
    case(f"concat_{d}", lambda *xs: torch.cat(xs, d), *(rand(53 + i, *s) for i, s in enumerate(shapes)))
case("expand_1", lambda x: x.expand(4, 2, 3, 5) * 1, rand(56, 2, 1, 5))
case("expand_scalar", lambda x: x.expand(3, 7) * 1, rand(57))
# F.pad lists the last dimension first; ours the first.
case("pad_1", lambda x: F.pad(x, (3, 1, 0, 2, 1, 0), value=0.5), rand(58, 3, 4, 5))
case("pad_crop", lambda x: F.pad(x, (-1, 2, 1, -2, -1, -1), value=-1.0), rand(59, 5, 4, 5))
case("pad_row", lambda x: F.pad(x, (2, -3)), rand(60, 7))
case("embedding_1", lambda w, i: F.embedding(i, w), rand(61, 11, 67),
     torch.tensor([[3, 0, 10, 3, 3], [7, 7, 1, 0, 9]]))
