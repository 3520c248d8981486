/* unet.c - the Residual UNet: declaration and forward.
 *
 * Must agree with monai.networks.nets.UNet.  With levels l = 0 .. L-1 of c_l channels:
 *
 *   x_0 = down_0(image), x_l = down_l(x_{l-1}) of stride s_l, the bottom x_{L-1} of stride 1
 *   y_{L-1} = x_{L-1},  y_{l-1} = up_l([x_l, y_l]) back through stride s_l; y of level 0 = logits
 *
 *   unit   act(dropout(norm(conv x)))                                "conv", "adn.N", "adn.A"
 *   down   residual unit: unit_n(... unit_0(x)) + shortcut(x), the stride in unit_0; shortcut: a
 *          convolution of the same stride (1x1 if that is 1), or x itself if nothing changes
 *   up     transposed unit, then a residual unit of one convolution; at the top that one is bare
 *
 * Names nest as MONAI's modules do: level l is "model" + l times ".1.submodule", in it ".0" goes down
 * and ".2" up; the bottom is the last submodule itself.  The code walks the levels in two loops. */
#include <string.h>
#include "models/model_internal.h"
#include "models/unet_internal.h"
#include "tensor/fused_internal.h"

mcs_unet_config mcs_unet_defaults(void)
{
    return (mcs_unet_config){ .in_channels = 3,
                              .classes = 1,
                              .levels = 5,
                              .channels = { 16, 32, 64, 128, 256 },
                              .strides = { 2, 2, 2, 2 },
                              .res_units = 2,
                              .kernel = 3,
                              .up_kernel = 3,
                              .norm = MCS_UNET_INSTANCE,
                              .act = MCS_UNET_PRELU,
                              .slope = 0.01f };
}

static mcs_status bad(mcs_error *e, const char *what)
{
    return mcs_error_set(e, MCS_EINVAL, "unet: %s", what);
}

mcs_status mcs_unet_check(const mcs_unet_config *cfg, mcs_error *e)
{
    const int most = 1 << 14; /* channels; keeps every product of sizes within 64 bits */
    if (cfg->in_channels < 1 || cfg->in_channels > most || cfg->classes < 1 || cfg->classes > most)
        return bad(e, "in_channels and classes must be 1..16384");
    if (cfg->levels < 2 || cfg->levels > MCS_UNET_MAX_LEVELS)
        return bad(e, "levels must be 2..8");
    for (int i = 0; i < cfg->levels; i++)
        if (cfg->channels[i] < 1 || cfg->channels[i] > most)
            return bad(e, "channels must be 1..16384");
    for (int i = 0; i + 1 < cfg->levels; i++)
        if (cfg->strides[i] < 1 || cfg->strides[i] > 8)
            return bad(e, "strides must be 1..8");
    if (cfg->res_units < 0 || cfg->res_units > MCS_UNET_MAX_UNITS)
        return bad(e, "res_units must be 0..8");
    if (cfg->kernel < 1 || cfg->kernel > 15 || cfg->kernel % 2 == 0 || cfg->up_kernel < 1 ||
        cfg->up_kernel > 15 || cfg->up_kernel % 2 == 0)
        return bad(e, "kernel and up_kernel must be odd, 1..15");
    if ((unsigned)cfg->norm > MCS_UNET_NO_NORM || (unsigned)cfg->act > MCS_UNET_LEAKY_RELU)
        return bad(e, "norm or act is none of its enumeration");
    if (!(cfg->slope >= -100.0f && cfg->slope <= 100.0f))
        return bad(e, "slope must be -100..100");
    if (!(cfg->dropout >= 0.0f && cfg->dropout < 1.0f))
        return bad(e, "dropout must be at least 0 and below 1");
    return MCS_OK;
}

int mcs_unet_multiple(const mcs_unet_config *cfg)
{
    int m = 1;
    for (int i = 0; i + 1 < cfg->levels; i++)
        m *= cfg->strides[i];
    return m;
}

/* ---- Declaration ---- */

typedef struct {
    const mcs_unet_config *cfg;
    bool old;
} plan;

static void bias_as_torch(mcs_ns ns)
{
    mcs_params_reinit(ns.params, mcs_ns_name(ns, "bias"), MCS_INIT_ZEROS, MCS_INIT_CONV_BIAS);
}

static void conv_init(mcs_conv *m, mcs_ns ns, int64_t in, int64_t out, int kernel, int stride,
                      bool bias)
{
    mcs_conv_init(m, ns, in, out, kernel, stride, (kernel - 1) / 2, 1, bias);
    bias_as_torch(ns);
}

static void norm_init(mcs_batchnorm *m, mcs_ns ns, const plan *p, int64_t out)
{
    m->eps = 1e-5f;
    ns = mcs_ns_sub(ns, p->old ? "norm" : "adn.N");
    if (p->cfg->norm == MCS_UNET_BATCH) {
        mcs_batchnorm_init(m, ns, out, m->eps);
    } else if (p->cfg->norm == MCS_UNET_INSTANCE_AFFINE) {
        m->weight = mcs_param(ns, "weight", MCS_INIT_ONES, 1, MCS_SHAPE(out));
        m->bias = mcs_param(ns, "bias", MCS_INIT_ZEROS, 1, MCS_SHAPE(out));
    }
}

static void unit_init(mcs_unet_unit *u, mcs_ns ns, const plan *p, int64_t in, int64_t out,
                      int kernel, int stride)
{
    mcs_ns conv = mcs_ns_sub(ns, "conv");
    if (u->transposed) {
        mcs_conv_transpose_init(&u->up, conv, in, out, kernel, stride, (kernel - 1) / 2, stride - 1,
                                !p->cfg->no_bias);
        bias_as_torch(conv);
    } else {
        conv_init(&u->conv, conv, in, out, kernel, stride, !p->cfg->no_bias);
    }
    if (u->bare)
        return;
    u->adn_name = mcs_ns_name(ns, "adn");
    norm_init(&u->batch, ns, p, out);
    mcs_ns act = mcs_ns_sub(ns, p->old ? "act" : "adn.A");
    if (p->cfg->act == MCS_UNET_PRELU)
        u->slope = mcs_param(act, "weight", MCS_INIT_QUARTER, 1, MCS_SHAPE(1));
}

static void block_init(mcs_unet_block *b, mcs_ns ns, const plan *p, int64_t in, int64_t out,
                       int units, int stride, bool last_bare)
{
    int kernel = p->cfg->kernel;
    b->name = ns.path;
    b->units = units;
    if (p->cfg->res_units == 0) {
        b->units = 1;
        unit_init(&b->unit[0], ns, p, in, out, kernel, stride);
        return;
    }
    for (int i = 0; i < units; i++) {
        b->unit[i].bare = last_bare && i + 1 == units;
        unit_init(&b->unit[i], mcs_ns_sub(ns, "conv.unit%d", i), p, i ? out : in, out, kernel,
                  i ? 1 : stride);
    }
    b->shortcut = stride == 1 && in == out ? MCS_UNET_IDENTITY : MCS_UNET_PROJECTION;
    if (b->shortcut == MCS_UNET_PROJECTION)
        conv_init(&b->projection, mcs_ns_sub(ns, "residual"), in, out, stride == 1 ? 1 : kernel,
                  stride, !p->cfg->no_bias);
}

static void up_init(mcs_unet_up *u, mcs_ns ns, const plan *p, int level)
{
    const mcs_unet_config *cfg = p->cfg;
    int64_t c = cfg->channels[level], out = level ? cfg->channels[level - 1] : cfg->classes;
    int64_t in = level + 2 < cfg->levels ? 2 * c : c + cfg->channels[level + 1];
    bool residual = cfg->res_units > 0;
    u->name = ns.path;
    u->conv.transposed = true;
    u->conv.bare = level == 0 && !residual;
    unit_init(&u->conv, residual ? mcs_ns_sub(ns, "0") : ns, p, in, out, cfg->up_kernel,
              cfg->strides[level]);
    if (residual)
        block_init(&u->block, mcs_ns_sub(ns, "1"), p, out, out, 1, 1, level == 0);
}

static void declare(mcs_unet *m, const plan *p)
{
    mcs_ns at[MCS_UNET_MAX_LEVELS];
    const mcs_unet_config *cfg = p->cfg;
    int last = cfg->levels - 1;
    at[0] = mcs_ns_sub(mcs_root(m->params), "model");
    m->name = at[0].path;
    for (int l = 1; l <= last; l++)
        at[l] = mcs_ns_sub(at[l - 1], "1.submodule");
    for (int l = 0; l <= last; l++)
        block_init(&m->down[l], l < last ? mcs_ns_sub(at[l], "0") : at[l], p,
                   l ? cfg->channels[l - 1] : cfg->in_channels, cfg->channels[l], cfg->res_units,
                   l < last ? cfg->strides[l] : 1, false);
    for (int l = last - 1; l >= 0; l--)
        up_init(&m->up[l], mcs_ns_sub(at[l], "2"), p, l);
}

mcs_unet *mcs_unet_declare(const mcs_unet_config *cfg, bool old, mcs_error *e)
{
    if (mcs_unet_check(cfg, e))
        return NULL;
    mcs_params *p = mcs_params_new();
    mcs_unet *m = p ? mcs_module(mcs_root(p), sizeof *m) : NULL;
    if (m) {
        m->params = p;
        m->cfg = *cfg;
        declare(m, &(plan){ &m->cfg, old });
        if (mcs_params_status(p) == MCS_OK)
            return m;
    }
    mcs_declare_failed(p, "unet", e);
    return NULL;
}

mcs_unet *mcs_unet_new(const mcs_unet_config *cfg, mcs_error *e)
{
    return mcs_unet_declare(cfg, false, e);
}

void mcs_unet_free(mcs_unet *m)
{
    if (m)
        mcs_params_free(m->params); /* m itself is a module of its store */
}

const mcs_unet_config *mcs_unet_get_config(const mcs_unet *m)
{
    return &m->cfg;
}
mcs_params *mcs_unet_params(const mcs_unet *m)
{
    return m->params;
}

/* ---- Forward ---- */

static mcs_tensor *norm_forward(mcs_ctx *c, const mcs_unet_config *cfg, const mcs_batchnorm *n,
                                mcs_tensor *x)
{
    if (cfg->norm == MCS_UNET_NO_NORM)
        return x;
    if (cfg->norm == MCS_UNET_BATCH)
        return mcs_batchnorm_forward(c, n, x);
    return mcs_instance_norm(c, x, n->weight, n->bias, n->eps);
}

static mcs_tensor *adn_forward(mcs_ctx *c, const mcs_unet_config *cfg, const mcs_unet_unit *u,
                               mcs_tensor *x)
{
    const mcs_batchnorm *n = &u->batch;
    float slope = cfg->act == MCS_UNET_LEAKY_RELU ? cfg->slope : 0.0f; /* ReLU is leaky by 0 */
    const mcs_tensor *a = u->slope ? u->slope : mcs_full(c, 1, MCS_SHAPE(1), slope);
    bool instance = cfg->norm == MCS_UNET_INSTANCE || cfg->norm == MCS_UNET_INSTANCE_AFFINE;
    if (instance && !(cfg->dropout > 0.0f && mcs_ctx_training(c)))
        return mcs_tap(c, u->adn_name,
                       mcs_instance_norm_prelu(c, x, n->weight, n->bias, n->eps, a));
    mcs_tensor *y = mcs_dropout(c, norm_forward(c, cfg, n, x), cfg->dropout);
    return mcs_tap(c, u->adn_name, mcs_prelu(c, y, a));
}

static mcs_tensor *unit_forward(mcs_ctx *c, const mcs_unet_config *cfg, const mcs_unet_unit *u,
                                const mcs_tensor *x)
{
    mcs_scope s = mcs_scope_begin(c);
    mcs_tensor *y =
        u->transposed ? mcs_conv_transpose_forward(c, &u->up, x) : mcs_conv_forward(c, &u->conv, x);
    return mcs_scope_end(c, s, u->bare ? y : adn_forward(c, cfg, u, y));
}

static mcs_tensor *block_forward(mcs_ctx *c, const mcs_unet_config *cfg, const mcs_unet_block *b,
                                 const mcs_tensor *x)
{
    mcs_scope s = mcs_scope_begin(c);
    mcs_tensor *y = unit_forward(c, cfg, &b->unit[0], x);
    for (int i = 1; i < b->units; i++)
        y = unit_forward(c, cfg, &b->unit[i], y);
    if (b->shortcut == MCS_UNET_IDENTITY)
        y = mcs_add(c, y, x);
    else if (b->shortcut == MCS_UNET_PROJECTION)
        y = mcs_add(c, y, mcs_conv_forward(c, &b->projection, x));
    return mcs_scope_end(c, s, mcs_tap(c, b->name, y));
}

static mcs_tensor *up_forward(mcs_ctx *c, const mcs_unet_config *cfg, const mcs_unet_up *u,
                              const mcs_tensor *skip, const mcs_tensor *below)
{
    mcs_scope s = mcs_scope_begin(c);
    mcs_tensor *x = mcs_concat(c, 1, 2, (const mcs_tensor *const[]){ skip, below });
    x = unit_forward(c, cfg, &u->conv, x);
    if (u->block.units)
        x = mcs_tap(c, u->name, block_forward(c, cfg, &u->block, x));
    return mcs_scope_end(c, s, x);
}

static bool images_ok(mcs_ctx *c, const mcs_unet *m, const mcs_tensor *x)
{
    if (!m)
        mcs_fail(c, MCS_EINVAL, "unet: the model is NULL (see the error of its loading)");
    if (!m || !x || mcs_ctx_status(c) != MCS_OK)
        return false;
    char shape[96];
    int multiple = mcs_unet_multiple(&m->cfg);
    if (x->dtype == MCS_F32 && x->ndim == 4 && x->shape[1] == m->cfg.in_channels &&
        x->shape[2] > 0 && x->shape[3] > 0 && x->shape[2] % multiple == 0 &&
        x->shape[3] % multiple == 0)
        return true;
    mcs_fail(c, MCS_ESHAPE,
             "unet: images are %s, expected float (B, %d, H, W) with sides that are "
             "multiples of %d",
             mcs_shape_str(x, shape, sizeof shape), m->cfg.in_channels, multiple);
    return false;
}

mcs_tensor *mcs_unet_forward(mcs_ctx *c, const mcs_unet *m, const mcs_tensor *images)
{
    if (!images_ok(c, m, images))
        return NULL;
    mcs_tensor *skip[MCS_UNET_MAX_LEVELS] = { NULL };
    int last = m->cfg.levels - 1;
    mcs_scope s = mcs_scope_begin(c);
    for (int l = 0; l <= last; l++)
        skip[l] = block_forward(c, &m->cfg, &m->down[l], l ? skip[l - 1] : images);
    mcs_tensor *y = skip[last];
    for (int l = last - 1; l >= 0; l--)
        y = up_forward(c, &m->cfg, &m->up[l], skip[l], y);
    return mcs_scope_end(c, s, mcs_tap(c, m->name, y));
}
