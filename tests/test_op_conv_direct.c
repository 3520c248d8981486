/* test_op_conv_direct.c - the direct kernels of every instruction set against sums written out, over
 * odd sizes, strides and paddings; the operations that use them: gradients, threads, memory. */
#include "tensor/conv_tile_internal.h"
#include "tensor/conv_internal.h"
#include "tests/check.h"

static mcs_conv_geom geometry(int64_t n, int64_t ch, int64_t feat, int64_t h, int64_t w, int64_t kh,
                              int64_t kw, int64_t sh, int64_t sw, int64_t ph, int64_t pw)
{
    mcs_conv_geom g = { .n = n,
                        .groups = 1,
                        .ch = ch,
                        .h = h,
                        .w = w,
                        .feat = feat,
                        .kh = kh,
                        .kw = kw,
                        .sh = sh,
                        .sw = sw,
                        .ph = ph,
                        .pw = pw };
    g.oh = (h + 2 * ph - kh) / sh + 1;
    g.ow = (w + 2 * pw - kw) / sw + 1;
    return g;
}

typedef struct {
    mcs_tensor *large, *small, *w, *bias;
} sides;

/* Calls fn for every product of a weight with a pixel: indices of large, small and w. */
static void each_product(const mcs_conv_geom *g, const sides *in,
                         void (*fn)(const sides *in, double *sum, int64_t l, int64_t s, int64_t w),
                         double *sum)
{
    for (int64_t i = 0; i < g->n * g->feat * g->oh * g->ow; i++)
        for (int64_t t = 0; t < mcs_conv_taps(g); t++) {
            int64_t ox = i % g->ow, oy = i / g->ow % g->oh, f = i / (g->ow * g->oh) % g->feat;
            int64_t image = i / (g->ow * g->oh * g->feat), ch = t / (g->kh * g->kw);
            int64_t y = oy * g->sh + t / g->kw % g->kh - g->ph, x = ox * g->sw + t % g->kw - g->pw;
            if (y >= 0 && y < g->h && x >= 0 && x < g->w)
                fn(in, sum, ((image * g->ch + ch) * g->h + y) * g->w + x, i,
                   f * mcs_conv_taps(g) + t);
        }
}

static void to_small(const sides *in, double *sum, int64_t l, int64_t s, int64_t w)
{
    sum[s] += (double)mcs_f32(in->large)[l] * (double)mcs_f32(in->w)[w];
}
static void to_large(const sides *in, double *sum, int64_t l, int64_t s, int64_t w)
{
    sum[l] += (double)mcs_f32(in->small)[s] * (double)mcs_f32(in->w)[w];
}
static void to_weights(const sides *in, double *sum, int64_t l, int64_t s, int64_t w)
{
    sum[w] += (double)mcs_f32(in->small)[s] * (double)mcs_f32(in->large)[l];
}

/* start + the sums of fn, as large as `like`; start NULL: 0. */
static mcs_tensor *expected(mcs_ctx *c, const mcs_conv_geom *g, const sides *in,
                            void (*fn)(const sides *, double *, int64_t, int64_t, int64_t),
                            const mcs_tensor *start)
{
    int64_t n = mcs_numel(start);
    mcs_tensor *sum = mcs_zeros(c, 1, MCS_SHAPE(2 * n)), *y = mcs_new_like(c, start);
    check_ok(c);
    double *d = (double *)sum->data;
    each_product(g, in, fn, d);
    for (int64_t i = 0; i < n; i++)
        mcs_f32(y)[i] = (float)((double)mcs_f32(start)[i] + d[i]);
    return y;
}

static mcs_tensor *copy(mcs_ctx *c, const mcs_tensor *x)
{
    return mcs_from(c, MCS_F32, x->ndim, x->shape, x->data);
}

static void check_geometry(mcs_ctx *c, const mcs_direct_kernels *k, const mcs_conv_geom *g)
{
    sides in = { check_random(c, 1, -1, 1, 4, MCS_SHAPE(g->n, g->ch, g->h, g->w)),
                 check_random(c, 2, -1, 1, 4, MCS_SHAPE(g->n, g->feat, g->oh, g->ow)),
                 check_random(c, 3, -1, 1, 4, MCS_SHAPE(g->feat, g->ch, g->kh, g->kw)),
                 check_random(c, 4, -1, 1, 1, MCS_SHAPE(g->feat)) };
    const float *large = mcs_f32(in.large), *small = mcs_f32(in.small), *w = mcs_f32(in.w);
    mcs_tensor *start = copy(c, in.small), *y = copy(c, in.small);
    mcs_direct_down(c, k, g, large, w, NULL, true, mcs_f32(y));
    check_near_named("down, added", y, expected(c, g, &in, to_small, start), 1e-4f, 1e-5f);
    for (int64_t i = 0; i < mcs_numel(start); i++)
        mcs_f32(start)[i] = mcs_f32(in.bias)[i / (g->oh * g->ow) % g->feat];
    mcs_direct_down(c, k, g, large, w, mcs_f32(in.bias), false, mcs_f32(y));
    check_near_named("down", y, expected(c, g, &in, to_small, start), 1e-4f, 1e-5f);
    y = copy(c, in.large);
    mcs_direct_up(c, k, g, small, w, mcs_f32(y));
    check_near_named("up", y, expected(c, g, &in, to_large, in.large), 1e-4f, 1e-5f);
    y = copy(c, in.w);
    mcs_direct_weights(c, k, g, large, small, mcs_f32(y));
    check_near_named("weights", y, expected(c, g, &in, to_weights, in.w), 1e-4f, 1e-4f);
    check_ok(c);
    mcs_ctx_reset(c);
}

static void kernels_equal_sums(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    if (!mcs_direct_at(0))
        skip();
    const mcs_direct_kernels *k;
    for (int i = 0; (k = mcs_direct_at(i)) != NULL; i++)
        for (int64_t s = 1; s <= 2; s++) {
            const mcs_conv_geom all[] = { geometry(2, 3, 5, 5, 33, 3, 3, s, s, 1, 1),
                                          geometry(1, 1, 1, 9, 16, 3, 3, s, s, 1, 1),
                                          geometry(3, 7, 17, 6, 50, 3, 3, s, s, 1, 1),
                                          geometry(1, 2, 4, 41, 7, 5, 3, s, s, 2, 1),
                                          geometry(1, 9, 2, 8, 97, 2, 4, s, s, 0, 3),
                                          geometry(2, 4, 8, 4, 64, 7, 5, s, 3 - s, 3, 2),
                                          geometry(1, 2, 3, 70, 100, 1, 2, s, s, 0, 0),
                                          geometry(5, 40, 3, 9, 31, 3, 1, s, s, 2, 0) };
            for (size_t j = 0; j < sizeof all / sizeof *all; j++)
                check_geometry(c, k, &all[j]);
        }
    mcs_ctx_free(c);
}

static mcs_tensor *half(mcs_ctx *c, mcs_tensor **in)
{
    return mcs_conv2d(c, in[0], in[1], in[2], (mcs_conv_opts){ 2, 2, 1, 1, 1 });
}
static mcs_tensor *twice(mcs_ctx *c, mcs_tensor **in)
{
    return mcs_conv_transpose2d(c, in[0], in[1], in[2], (mcs_conv_opts){ 2, 2, 1, 1, 1 }, 1, 1);
}

static void operations(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_tensor *in[] = { check_random(c, 1, -1, 1, 4, MCS_SHAPE(3, 5, 30, 64)),
                         check_random(c, 2, -1, 1, 4, MCS_SHAPE(5, 5, 3, 3)),
                         check_random(c, 3, -1, 1, 1, MCS_SHAPE(5)) };
    check_grad(c, half, 3, in, 2e-3f);
    check_grad(c, twice, 3, in, 2e-3f);
    check_each_grad(c, half, 3, in);
    check_each_grad(c, twice, 3, in);
    check_threads(half, 3, in);
    check_threads(twice, 3, in);
    check_limits(half, 3, in);
    check_limits(twice, 3, in);
    mcs_ctx_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kernels_equal_sums),
        cmocka_unit_test(operations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
