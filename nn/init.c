/* init.c - initial values of weights.
 *
 * Every number is a function of (seed, name of the weight, element), so models that share a
 * layer share its start and threads do not matter.
 *   CONV_BIAS  the same with the fan_in of the weight declared before it (fan_in of a transposed
 *            weight (in,out,kh,kw) is out kh kw, as torch counts it)
 *   KAIMING  uniform +-1/sqrt(fan_in): torch.nn.Linear and Conv2d defaults (He et al. 2015, a=sqrt 5)
 *   XAVIER   uniform +-sqrt(6/(fan_in+fan_out)) (Glorot & Bengio 2010)
 *   SINCOS   of coordinates, so that places differ before anything is learnt: see nn.h
 *   TRUNC02  normal sd .02 cut at two sd (timm's trunc_normal_) */
#include <math.h>
#include "nn/params_internal.h"

static double uniform(uint32_t u) { return ((double)u + 0.5) / 4294967296.0; }

/* Box-Muller on two uniforms of one Philox block; the cut of TRUNC02 redraws from later blocks. */
static double normal(const uint64_t key[2], int64_t i, double cut)
{
    for (uint64_t draw = 0; draw < 64; draw++) {
        uint32_t r[4];
        mcs_philox(key, (uint64_t)i + (draw << 40), r);
        double z = sqrt(-2.0 * log(uniform(r[0]))) * cos(6.283185307179586 * uniform(r[1]));
        if (fabs(z) <= cut)
            return z;
    }
    return 0.0;
}

/* Linear (out,in); Conv (out,in,kh,kw): the receptive field multiplies both. */
static void fans(const mcs_tensor *x, double *in, double *out)
{
    double field = 1;
    for (int i = 2; i < x->ndim; i++)
        field *= (double)x->shape[i];
    *in = x->ndim > 1 ? (double)x->shape[1] * field : x->ndim ? (double)x->shape[0] : 1;
    *out = x->ndim > 0 ? (double)x->shape[0] * field : 1;
}

static void fill_uniform(mcs_tensor *x, const uint64_t key[2], double bound)
{
    uint32_t r[4] = { 0 };
    for (int64_t i = 0, n = mcs_numel(x); i < n; i++) {
        if (i % 4 == 0)
            mcs_philox(key, (uint64_t)(i / 4), r);
        mcs_f32(x)[i] = (float)((2.0 * uniform(r[i % 4]) - 1.0) * bound);
    }
}

static void fill_normal(mcs_tensor *x, const uint64_t key[2], double sd, double cut)
{
    for (int64_t i = 0, n = mcs_numel(x); i < n; i++)
        mcs_f32(x)[i] = (float)(sd * normal(key, i, cut));
}

static void fill_constant(mcs_tensor *x, float value)
{
    for (int64_t i = 0, n = mcs_numel(x); i < n; i++)
        mcs_f32(x)[i] = value;
}

/* C/2 numbers of one coordinate: sines, then cosines of C/4 frequencies. */
static void sincos_row(float *row, int64_t half, double at)
{
    for (int64_t k = 0; k < half / 2; k++) {
        double angle = at * pow(10000, -2.0 * (double)k / (double)half);
        row[k] = (float)(2 * sin(angle));
        row[half / 2 + k] = (float)(2 * cos(angle));
    }
}

static void fill_sincos(mcs_tensor *x)
{
    int64_t cells = x->ndim == 3 ? x->shape[1] - 1 : 0, grid = llround(sqrt((double)cells));
    fill_constant(x, 0.0f);
    if (cells < 1 || x->shape[0] != 1 || x->shape[2] % 4 || grid * grid != cells)
        return;
    int64_t half = x->shape[2] / 2;
    double unit = 16.0 / (double)grid;
    for (int64_t i = 0; i < cells; i++) {
        float *row = mcs_f32(x) + (1 + i) * x->shape[2];
        sincos_row(row, half, (double)(i % grid) * unit);
        sincos_row(row + half, half, (double)(i / grid) * unit);
    }
}

void mcs_init_fill(mcs_tensor *x, mcs_init init, uint64_t seed, const char *name,
                   const mcs_tensor *before)
{
    uint64_t key[2] = { seed, mcs_name_hash(name) };
    double in, out;
    fans(init == MCS_INIT_CONV_BIAS && before ? before : x, &in, &out);
    switch (init) {
    case MCS_INIT_ZEROS: fill_constant(x, 0.0f); break;
    case MCS_INIT_ONES: fill_constant(x, 1.0f); break;
    case MCS_INIT_QUARTER: fill_constant(x, 0.25f); break;
    case MCS_INIT_CONV_BIAS:
    case MCS_INIT_KAIMING: fill_uniform(x, key, 1.0 / sqrt(in)); break;
    case MCS_INIT_XAVIER: fill_uniform(x, key, sqrt(6.0 / (in + out))); break;
    case MCS_INIT_TRUNC02: fill_normal(x, key, 0.02, 2.0); break;
    case MCS_INIT_NORMAL02: fill_normal(x, key, 0.02, 1e9); break;
    case MCS_INIT_SINCOS: fill_sincos(x); break;
    case MCS_INIT_NORMAL: fill_normal(x, key, 1.0, 1e9); break;
    }
}
