/* unet_files.c - the UNet's checkpoints: reading a layout off names and shapes, loading, saving.
 *
 * What MONAI's state dict tells, with "D" the down path of a level:
 *   D.conv.unit<i>.conv.weight (out,in,k,k)   residual units; i counts them; else D.conv.weight
 *   D.residual.weight                         k x k: stride > 1; 1 x 1 or absent: stride 1
 *   ...adn.N.running_mean / adn.N.weight      batch norm / instance norm with parameters
 *   ...adn.A.weight                           PReLU
 *   2.0.conv.weight or 2.conv.weight          (in,out,k,k): classes, kernel of the up path
 * The rest stands in the metadata "mcs.config", whole numbers only (slope and dropout in
 * millionths).  Everything is checked before any weight is allocated: a layout comes from a file. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "models/model_internal.h"
#include "models/unet_internal.h"

enum { NAME_BYTES = 512, META_PAIRS = 32 };

typedef struct {
    const mcs_checkpoint *k;
    char prefix[NAME_BYTES]; /* before "model." */
    bool old; /* names of MONAI before 0.4 */
    mcs_error *e;
} reader;

static const mcs_stored *find(const reader *r, const char *level, const char *leaf)
{
    char name[2 * NAME_BYTES];
    int n = snprintf(name, sizeof name, "%s%s%s", r->prefix, level, leaf);
    return n > 0 && (size_t)n < sizeof name ? mcs_checkpoint_find(r->k, name) : NULL;
}

static bool has(const reader *r, const char *level, const char *leaf)
{
    return find(r, level, leaf) != NULL;
}

/* The prefix of the first name that ends like the weight of the first convolution. */
static bool find_prefix(reader *r)
{
    static const char *const probes[] = { "model.0.conv.unit0.conv.weight", "model.0.conv.weight" };
    for (int64_t i = 0; i < mcs_checkpoint_count(r->k); i++) {
        const char *name = mcs_checkpoint_at(r->k, i)->name;
        for (int j = 0; j < 2; j++) {
            if (!mcs_prefix_of(name, probes[j], r->prefix, sizeof r->prefix))
                continue;
            if (has(r, "model.1.submodule", ".conv.weight") ||
                has(r, "model.1.submodule", ".conv.unit0.conv.weight") ||
                has(r, "model.1.submodule", ".0.conv.weight") ||
                has(r, "model.1.submodule", ".0.conv.unit0.conv.weight"))
                return true;
        }
    }
    return false;
}

/* A convolution's weight: square, odd, of sane size; *first and *second are its channels. */
static mcs_status kernel_of(const reader *r, const char *level, const char *leaf, int *first,
                            int *second, int *kernel)
{
    const mcs_stored *w = find(r, level, leaf);
    const char *path = mcs_checkpoint_path(r->k);
    if (!w)
        return mcs_error_set(r->e, MCS_ENOTFOUND, "%s: a UNet needs %s%s%s", path, r->prefix, level,
                             leaf);
    if (w->ndim == 5)
        return mcs_error_set(r->e, MCS_ESHAPE,
                             "%s: %s has five dimensions: a UNet of volumes; "
                             "only pictures are supported (spatial_dims=2)",
                             path, w->name);
    if (w->ndim != 4 || w->shape[2] != w->shape[3] || w->shape[2] % 2 == 0 || w->shape[2] > 15 ||
        w->shape[0] > 1 << 14 || w->shape[1] > 1 << 14)
        return mcs_error_set(r->e, MCS_ESHAPE,
                             "%s: %s is no convolution with a square, odd kernel of at most 15",
                             path, w->name);
    *first = (int)w->shape[0];
    *second = (int)w->shape[1];
    *kernel = (int)w->shape[2];
    return MCS_OK;
}

static int units_of(const reader *r)
{
    char leaf[64];
    for (int i = 0;; i++) {
        snprintf(leaf, sizeof leaf, ".conv.unit%d.conv.weight", i);
        if (i > MCS_UNET_MAX_UNITS || !has(r, "model.0", leaf))
            return i;
    }
}

/* The stride of a level as its shortcut tells it; else what is there already. */
static void stride_of(const reader *r, const char *down, int in, int out, int *stride)
{
    const mcs_stored *w = find(r, down, ".residual.weight");
    if (w && w->ndim == 4 && w->shape[2] == 1)
        *stride = 1;
    else if (!w && in == out)
        *stride = 1;
    else if (*stride == 1)
        *stride = 2;
}

static mcs_status levels_of(const reader *r, mcs_unet_config *cfg)
{
    const char *first = cfg->res_units ? ".conv.unit0.conv.weight" : ".conv.weight";
    char level[NAME_BYTES] = "model", down[NAME_BYTES + 8];
    int in = 0, kernel;
    for (int l = 0; l < MCS_UNET_MAX_LEVELS; l++) {
        snprintf(down, sizeof down, "%s.0", level);
        bool bottom = !has(r, down, first);
        if (bottom)
            snprintf(down, sizeof down, "%s", level);
        mcs_status s = kernel_of(r, down, first, &cfg->channels[l], &in, &kernel);
        if (s)
            return s;
        if (l == 0)
            cfg->in_channels = in, cfg->kernel = kernel;
        if (cfg->res_units && !bottom && cfg->kernel > 1)
            stride_of(r, down, in, cfg->channels[l], &cfg->strides[l]);
        cfg->levels = l + 1;
        if (bottom)
            return MCS_OK;
        size_t used = strlen(level);
        snprintf(level + used, sizeof level - used, ".1.submodule");
    }
    return mcs_error_set(r->e, MCS_ESHAPE, "%s: a UNet of more than %d levels",
                         mcs_checkpoint_path(r->k), MCS_UNET_MAX_LEVELS);
}

static void layers_of(reader *r, mcs_unet_config *cfg)
{
    const char *unit = cfg->res_units ? "model.0.conv.unit0" : "model.0";
    r->old = has(r, unit, ".act.weight") || has(r, unit, ".norm.weight");
    cfg->no_bias = !has(r, unit, ".conv.bias");
    if (has(r, unit, r->old ? ".norm.running_mean" : ".adn.N.running_mean"))
        cfg->norm = MCS_UNET_BATCH;
    else if (has(r, unit, r->old ? ".norm.weight" : ".adn.N.weight"))
        cfg->norm = MCS_UNET_INSTANCE_AFFINE;
    else if (cfg->norm != MCS_UNET_NO_NORM)
        cfg->norm = MCS_UNET_INSTANCE;
    if (has(r, unit, r->old ? ".act.weight" : ".adn.A.weight"))
        cfg->act = MCS_UNET_PRELU;
    else if (cfg->act == MCS_UNET_PRELU)
        cfg->act = MCS_UNET_RELU;
}

/* ---- Metadata ---- */

static mcs_status meta_int(const mcs_checkpoint *k, const char *key, int lo, int hi, int *value,
                           mcs_error *e)
{
    int64_t v = *value;
    mcs_status s = mcs_checkpoint_config_int(k, key, lo, hi, &v, e);
    *value = (int)v;
    return s;
}

static mcs_status meta_read(const mcs_checkpoint *k, mcs_unet_config *cfg, mcs_error *e)
{
    int norm = (int)cfg->norm, act = (int)cfg->act, slope = (int)lroundf(cfg->slope * 1e6f),
        dropout = (int)lroundf(cfg->dropout * 1e6f);
    mcs_status s = meta_int(k, "norm", 0, MCS_UNET_NO_NORM, &norm, e);
    if (!s)
        s = meta_int(k, "act", 0, MCS_UNET_LEAKY_RELU, &act, e);
    if (!s)
        s = meta_int(k, "slope_1e6", -100000000, 100000000, &slope, e);
    if (!s)
        s = meta_int(k, "dropout_1e6", 0, 999999, &dropout, e);
    for (int i = 0; !s && i + 1 < MCS_UNET_MAX_LEVELS; i++) {
        char key[32];
        snprintf(key, sizeof key, "stride_%d", i);
        s = meta_int(k, key, 1, 8, &cfg->strides[i], e);
    }
    cfg->norm = (mcs_unet_norm)norm;
    cfg->act = (mcs_unet_act)act;
    cfg->slope = (float)slope * 1e-6f;
    cfg->dropout = (float)dropout * 1e-6f;
    return s;
}

static int meta_write(const mcs_unet_config *cfg, char *text, size_t n)
{
    int used = snprintf(text, n,
                        "{\"norm\": %d, \"act\": %d, \"slope_1e6\": %ld, "
                        "\"dropout_1e6\": %ld",
                        (int)cfg->norm, (int)cfg->act, lroundf(cfg->slope * 1e6f),
                        lroundf(cfg->dropout * 1e6f));
    for (int i = 0; i + 1 < cfg->levels; i++)
        used += snprintf(text + used, n - (size_t)used, ", \"stride_%d\": %d", i, cfg->strides[i]);
    return used + snprintf(text + used, n - (size_t)used, "}");
}

/* ---- Reading ---- */

static mcs_status config_read(reader *r, const mcs_unet_config *hint, mcs_unet_config *cfg)
{
    *cfg = hint ? *hint : mcs_unet_defaults();
    if (!find_prefix(r))
        return mcs_error_set(r->e, MCS_ENOTFOUND,
                             "%s: not a checkpoint of MONAI's UNet: model.0.conv... and "
                             "model.1.submodule... are not in it",
                             mcs_checkpoint_path(r->k));
    mcs_status s = mcs_unet_check(cfg, r->e); /* a hint's numbers are not taken unseen */
    for (int i = hint ? hint->levels - 1 : 0; !s && i < MCS_UNET_MAX_LEVELS; i++)
        cfg->strides[i] = 2;
    if (!s)
        s = meta_read(r->k, cfg, r->e);
    if (s)
        return s;
    cfg->res_units = units_of(r);
    s = levels_of(r, cfg);
    if (s)
        return s;
    layers_of(r, cfg);
    int in;
    s = kernel_of(r, cfg->res_units ? "model.2.0" : "model.2", ".conv.weight", &in, &cfg->classes,
                  &cfg->up_kernel);
    return s ? s : mcs_unet_check(cfg, r->e);
}

mcs_status mcs_unet_config_read(const mcs_checkpoint *k, const mcs_unet_config *hint,
                                mcs_unet_config *cfg, mcs_error *e)
{
    return config_read(&(reader){ .k = k, .e = e }, hint, cfg);
}

/* The values of `from`, whose names differ, in a model with today's names; frees `from`. */
static mcs_unet *renamed(mcs_unet *from, mcs_error *e)
{
    mcs_unet *m = mcs_unet_declare(&from->cfg, false, e);
    for (int64_t i = 0; m && i < mcs_params_count(m->params); i++) {
        float *to = mcs_params_data(m->params, i);
        const mcs_tensor *x = mcs_params_at(from->params, i).tensor;
        if (to) {
            memcpy(to, x->data, (size_t)mcs_numel(x) * sizeof *to);
            continue;
        }
        mcs_error_set(e, MCS_ENOMEM, "unet: %s", mcs_params_message(m->params));
        mcs_unet_free(m);
        m = NULL;
    }
    mcs_unet_free(from);
    return m;
}

mcs_unet *mcs_unet_read(mcs_checkpoint *k, const mcs_unet_config *hint, mcs_error *e)
{
    static const char *const ignored[] = { "num_batches_tracked", NULL };
    reader r = { .k = k, .e = e };
    mcs_unet_config cfg;
    if (config_read(&r, hint, &cfg))
        return NULL;
    mcs_unet *m = mcs_unet_declare(&cfg, r.old, e);
    if (m && mcs_params_load(m->params, k, r.prefix, ignored, MCS_LOAD_STRICT, e) == MCS_OK)
        return r.old ? renamed(m, e) : m;
    mcs_unet_free(m);
    return NULL;
}

mcs_unet *mcs_unet_load(const char *path, const mcs_unet_config *hint, mcs_error *e)
{
    mcs_checkpoint *k = mcs_checkpoint_open(path, e);
    mcs_unet *m = k ? mcs_unet_read(k, hint, e) : NULL;
    mcs_checkpoint_close(k);
    return m;
}

mcs_status mcs_unet_save(const mcs_unet *m, const char *path, const char *const *meta,
                         mcs_stored_dtype dtype, mcs_error *e)
{
    char config[512];
    meta_write(&m->cfg, config, sizeof config);
    const char *all[2 * META_PAIRS + 5] = { "mcs.model", "unet", "mcs.config", config };
    int n = 4;
    for (; meta && *meta; meta += 2) {
        if (n >= 2 * META_PAIRS + 4)
            return mcs_error_set(e, MCS_EINVAL, "unet: more than %d pairs of metadata", META_PAIRS);
        all[n++] = meta[0];
        all[n++] = meta[1];
    }
    return mcs_params_save(m->params, path, all, dtype, e);
}
