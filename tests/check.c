/* check.c - see check.h. */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "tests/check.h"
#include "weights/weights.h"

/* ---- Contexts ---- */

mcs_ctx *check_ctx(void)
{
    static mcs_pool *pool; /* lives as long as the test program */
    if (!pool)
        pool = mcs_pool_new(2);
    assert_non_null(pool);
    mcs_ctx *c = mcs_ctx_new(&(mcs_ctx_opts){ .pool = pool, .seed = 1, .grad = true });
    assert_non_null(c);
    return c;
}

void check_ok(mcs_ctx *c)
{
    if (mcs_ctx_status(c) != MCS_OK)
        fail_msg("%s: %s", mcs_status_name(mcs_ctx_status(c)), mcs_ctx_message(c));
}

void check_fails(mcs_ctx *c, mcs_tensor *result, mcs_status s, const char *part)
{
    if (result)
        fail_msg("succeeded, expected %s: \"...%s...\"", mcs_status_name(s), part);
    if (mcs_ctx_status(c) != s || !strstr(mcs_ctx_message(c), part))
        fail_msg("failed with %s: \"%s\", expected %s: \"...%s...\"",
                 mcs_status_name(mcs_ctx_status(c)), mcs_ctx_message(c), mcs_status_name(s), part);
    mcs_ctx_reset(c);
}

/* ---- Random values: splitmix64, for tests need no better ---- */

static double next_uniform(uint64_t *state)
{
    uint64_t z = (*state += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return (double)((z ^ (z >> 31)) >> 11) * 0x1p-53;
}

mcs_tensor *check_random(mcs_ctx *c, uint64_t seed, float lo, float hi, int ndim,
                         const int64_t *shape)
{
    mcs_tensor *x = mcs_new(c, ndim, shape);
    check_ok(c);
    for (int64_t i = 0; i < mcs_numel(x); i++) {
        float v = lo + (hi - lo) * (float)next_uniform(&seed);
        mcs_f32(x)[i] = v < hi ? v : lo;
    }
    return x;
}

/* ---- Comparison ---- */

typedef struct {
    int64_t worst; /* index of the largest excess over the tolerance; -1: none */
    double max, mean; /* error */
} difference;

static difference compare(const mcs_tensor *a, const mcs_tensor *b, double rtol, double atol)
{
    difference d = { -1, 0.0, 0.0 };
    double most = 0.0;
    int64_t n = mcs_numel(b);
    for (int64_t i = 0; i < n; i++) {
        double x = (double)mcs_f32(a)[i], y = (double)mcs_f32(b)[i];
        if (x == y || (isnan(x) && isnan(y)))
            continue; /* infinities too */
        double e = fabs(x - y), excess = e - (atol + rtol * fabs(y));
        if (!(excess <= 0.0) && (d.worst < 0 || !(excess <= most))) {
            d.worst = i;
            most = excess;
        }
        d.max = fmax(d.max, e);
        d.mean += e / (double)n;
    }
    return d;
}

static void print_index(const mcs_tensor *x, int64_t i, char *buf, size_t n)
{
    int64_t at[MCS_MAX_DIM];
    for (int k = x->ndim - 1; k >= 0; k--) {
        at[k] = i % x->shape[k];
        i /= x->shape[k];
    }
    size_t used = 0;
    buf[0] = '\0';
    for (int k = 0; k < x->ndim && used < n; k++)
        used += (size_t)snprintf(buf + used, n - used, "%s%lld", k ? "," : "", (long long)at[k]);
}

void check_near_named(const char *what, const mcs_tensor *a, const mcs_tensor *b, float rtol,
                      float atol)
{
    char sa[160], sb[160], at[160];
    if (!a || !b)
        fail_msg("%s: %s tensor is NULL", what, a ? "second" : "first");
    if (a->dtype != b->dtype || a->ndim != b->ndim ||
        memcmp(a->shape, b->shape, (size_t)a->ndim * sizeof *a->shape) != 0)
        fail_msg("%s: shape %s, expected %s", what, mcs_shape_str(a, sa, sizeof sa),
                 mcs_shape_str(b, sb, sizeof sb));
    if (a->dtype != MCS_F32) {
        size_t bytes = (size_t)mcs_numel(a) * (a->dtype == MCS_I64 ? sizeof(int64_t) : 1);
        if (memcmp(a->data, b->data, bytes) != 0)
            fail_msg("%s: integer values differ", what);
        return;
    }
    difference d = compare(a, b, (double)rtol, (double)atol);
    if (d.worst < 0)
        return;
    print_index(a, d.worst, at, sizeof at);
    fail_msg("%s: at [%s] of %s: %.9g, expected %.9g; error: largest %.3g, mean %.3g "
             "(rtol %g, atol %g)",
             what, at, mcs_shape_str(a, sa, sizeof sa), (double)mcs_f32(a)[d.worst],
             (double)mcs_f32(b)[d.worst], d.max, d.mean, (double)rtol, (double)atol);
}

void check_near(const mcs_tensor *a, const mcs_tensor *b, float rtol, float atol)
{
    check_near_named("check_near", a, b, rtol, atol);
}

/* ---- Gradient along random directions ---- */

enum { DIRECTIONS = 3, INPUTS_MAX = 16 };

static double weighted_sum(const mcs_tensor *y, const float *w)
{
    double s = 0.0;
    for (int64_t i = 0; i < mcs_numel(y); i++)
        s += (double)mcs_f32(y)[i] * (double)w[i];
    return s;
}

/* <w, fn(in)> with input k moved by h along d. */
static double moved(mcs_ctx *c, check_fn *fn, int n, mcs_tensor **in, int k, const float *d,
                    double h, const float *w)
{
    mcs_tensor *copy[INPUTS_MAX];
    memcpy(copy, in, (size_t)n * sizeof *in);
    copy[k] = mcs_from(c, MCS_F32, in[k]->ndim, in[k]->shape, in[k]->data);
    check_ok(c);
    for (int64_t i = 0; i < mcs_numel(copy[k]); i++)
        mcs_f32(copy[k])[i] += (float)(h * (double)d[i]);
    bool grad = mcs_set_grad(c, false);
    mcs_tensor *y = fn(c, copy);
    mcs_set_grad(c, grad);
    check_ok(c);
    return weighted_sum(y, w);
}

/* The size of input k as a step is measured by it: rms, 1 if it is all zero. */
static double rms(const mcs_tensor *x)
{
    double s = 0.0;
    for (int64_t i = 0; i < mcs_numel(x); i++)
        s += (double)mcs_f32(x)[i] * (double)mcs_f32(x)[i];
    s = sqrt(s / (double)mcs_numel(x));
    return s > 0.0 ? s : 1.0;
}

static void check_input(mcs_ctx *c, check_fn *fn, int n, mcs_tensor **in, int k,
                        const mcs_tensor *grad, const float *w, float tol)
{
    double h = 1e-2 * rms(in[k]), norm = 0.0;
    for (int64_t i = 0; i < mcs_numel(grad); i++)
        norm += (double)mcs_f32(grad)[i] * (double)mcs_f32(grad)[i];
    norm = sqrt(norm);
    for (uint64_t t = 0; t < DIRECTIONS; t++) {
        const mcs_tensor *d =
            check_random(c, 77 + 10 * t + (uint64_t)k, -1.0f, 1.0f, in[k]->ndim, in[k]->shape);
        double analytic = weighted_sum(grad, mcs_f32(d));
        double numeric =
            (moved(c, fn, n, in, k, mcs_f32(d), h, w) - moved(c, fn, n, in, k, mcs_f32(d), -h, w)) /
            (2.0 * h);
        /* A random direction meets a gradient of this norm with about this product. */
        double size = fmax(fmax(fabs(analytic), fabs(numeric)), 0.3 * norm);
        if (!(fabs(analytic - numeric) <= (double)tol * size + 1e-6))
            fail_msg("gradient of input %d, direction %d: autograd %.7g, difference quotient %.7g "
                     "(gradient norm %.3g)",
                     k, (int)t, analytic, numeric, norm);
    }
}

void check_grad(mcs_ctx *c, check_fn *fn, int n, mcs_tensor **in, float tol)
{
    mcs_tensor *leaves[INPUTS_MAX];
    assert_true(n <= INPUTS_MAX);
    for (int k = 0; k < n; k++)
        leaves[k] = in[k] && in[k]->dtype == MCS_F32 ? mcs_leaf(c, in[k]) : in[k];
    mcs_tensor *y = fn(c, leaves);
    check_ok(c);
    const mcs_tensor *w = check_random(c, 5, -1.0f, 1.0f, y->ndim, y->shape);
    if (mcs_backward(c, y, w) != MCS_OK)
        check_ok(c);
    for (int k = 0; k < n; k++) {
        if (!in[k] || in[k]->dtype != MCS_F32 || mcs_numel(in[k]) == 0)
            continue;
        const mcs_tensor *grad = mcs_grad(c, leaves[k]);
        if (!grad)
            fail_msg("input %d got no gradient", k);
        check_input(c, fn, n, in, k, grad, mcs_f32(w), tol);
    }
}

void check_each_grad(mcs_ctx *c, check_fn *fn, int n, mcs_tensor **in)
{
    mcs_tensor *all[INPUTS_MAX], *one[INPUTS_MAX];
    char what[64];
    assert_true(n <= INPUTS_MAX);
    for (int k = 0; k < n; k++)
        all[k] = in[k] && in[k]->dtype == MCS_F32 ? mcs_leaf(c, in[k]) : in[k];
    mcs_tensor *y = fn(c, all);
    check_ok(c);
    const mcs_tensor *dy = check_random(c, 5, -1.0f, 1.0f, y->ndim, y->shape);
    if (mcs_backward(c, y, dy) != MCS_OK)
        check_ok(c);
    for (int k = 0; k < n; k++) {
        if (!in[k] || in[k]->dtype != MCS_F32)
            continue;
        memcpy(one, in, (size_t)n * sizeof *in);
        one[k] = mcs_leaf(c, in[k]);
        if (mcs_backward(c, fn(c, one), dy) != MCS_OK)
            check_ok(c);
        snprintf(what, sizeof what, "gradient of input %d alone", k);
        check_near_named(what, mcs_grad(c, one[k]), mcs_grad(c, all[k]), 1e-5f, 1e-6f);
    }
}

/* ---- Thread counts ---- */

static void same_bits(const char *what, int threads, const mcs_tensor *a, const mcs_tensor *b)
{
    if (!a || !b || mcs_numel(a) != mcs_numel(b) ||
        memcmp(a->data, b->data, (size_t)mcs_numel(a) * sizeof(float)) != 0)
        fail_msg("%s differs between 1 and %d threads", what, threads);
}

static mcs_ctx *run_threads(check_fn *fn, int n, mcs_tensor **in, mcs_pool *pool,
                            mcs_tensor **leaves, mcs_tensor **y)
{
    mcs_ctx *c = mcs_ctx_new(&(mcs_ctx_opts){ .pool = pool, .seed = 1, .grad = true });
    assert_non_null(c);
    for (int k = 0; k < n; k++)
        leaves[k] = in[k] && in[k]->dtype == MCS_F32 ? mcs_leaf(c, in[k]) : in[k];
    *y = fn(c, leaves);
    check_ok(c);
    if (mcs_backward(c, *y, check_random(c, 5, -1.0f, 1.0f, (*y)->ndim, (*y)->shape)) != MCS_OK)
        check_ok(c);
    return c;
}

void check_threads(check_fn *fn, int n, mcs_tensor **in)
{
    mcs_tensor *one[INPUTS_MAX], *many[INPUTS_MAX], *y1, *y2;
    assert_true(n <= INPUTS_MAX);
    mcs_ctx *c1 = run_threads(fn, n, in, NULL, one, &y1);
    for (int threads = 2; threads <= 4; threads += 2) {
        mcs_pool *pool = mcs_pool_new(threads);
        mcs_ctx *c2 = run_threads(fn, n, in, pool, many, &y2);
        same_bits("output", threads, y1, y2);
        for (int k = 0; k < n; k++)
            if (in[k] && in[k]->dtype == MCS_F32)
                same_bits("a gradient", threads, mcs_grad(c1, one[k]), mcs_grad(c2, many[k]));
        mcs_ctx_free(c2);
        mcs_pool_free(pool);
    }
    mcs_ctx_free(c1);
}

/* ---- Memory limits ---- */

/* True if it succeeded; *peak: the most it held. */
static bool run_limited(check_fn *fn, int n, mcs_tensor **in, size_t limit, size_t *peak)
{
    mcs_tensor *leaves[INPUTS_MAX];
    mcs_ctx *c = mcs_ctx_new(&(mcs_ctx_opts){ .bytes_max = limit, .grad = true });
    assert_non_null(c);
    for (int k = 0; k < n; k++)
        leaves[k] = in[k] && in[k]->dtype == MCS_F32 ? mcs_leaf(c, in[k]) : in[k];
    mcs_tensor *y = fn(c, leaves);
    if ((y == NULL) != (mcs_ctx_status(c) != MCS_OK))
        fail_msg("result %s, status %s", y ? "given" : "NULL", mcs_status_name(mcs_ctx_status(c)));
    mcs_tensor *dy = y ? mcs_full(c, y->ndim, y->shape, 1.0f) : NULL;
    bool ok = dy && mcs_backward(c, y, dy) == MCS_OK;
    if (!ok)
        assert_int_equal(mcs_ctx_status(c), MCS_ENOMEM);
    *peak = mcs_ctx_peak(c);
    mcs_ctx_free(c);
    return ok;
}

void check_limits(check_fn *fn, int n, mcs_tensor **in)
{
    size_t peak, ignored;
    assert_true(run_limited(fn, n, in, 0, &peak));
    int failed = 0;
    for (size_t i = 1; i <= 32; i++)
        failed += !run_limited(fn, n, in, peak * i / 32, &ignored);
    assert_true(failed > 0);
}

/* ---- Golden files ---- */

static mcs_checkpoint *golden_open(const char *name)
{
    char path[512];
    mcs_error e = { MCS_OK, "" };
    snprintf(path, sizeof path, "tests/golden/%s.safetensors", name);
    mcs_checkpoint *k = mcs_checkpoint_open(path, &e);
    if (!k)
        fail_msg("%s: %s", path, e.message);
    return k;
}

static mcs_tensor *golden_take(mcs_ctx *c, mcs_checkpoint *k, const char *name)
{
    if (!mcs_checkpoint_find(k, name))
        return NULL;
    mcs_tensor *x = mcs_checkpoint_tensor(c, k, name);
    check_ok(c);
    return x;
}

mcs_tensor *check_golden_tensor(mcs_ctx *c, const char *file, const char *name)
{
    mcs_checkpoint *k = golden_open(file);
    mcs_tensor *x = golden_take(c, k, name);
    mcs_checkpoint_close(k);
    return x;
}

static mcs_tensor *golden_numbered(mcs_ctx *c, mcs_checkpoint *k, const char *what, int i)
{
    char name[32];
    snprintf(name, sizeof name, "%s.%d", what, i);
    return golden_take(c, k, name);
}

void check_golden(mcs_ctx *c, const char *name, check_fn *fn, float rtol, float atol)
{
    mcs_checkpoint *k = golden_open(name);
    mcs_tensor *in[INPUTS_MAX], *grad[INPUTS_MAX];
    char what[256];
    int grads = 0;
    for (int i = 0; i < INPUTS_MAX; i++) {
        in[i] = golden_numbered(c, k, "in", i);
        grad[i] = golden_numbered(c, k, "grad", i);
        if (!in[i] || !grad[i])
            continue;
        in[i] = mcs_leaf(c, in[i]);
        grads++;
    }
    const mcs_tensor *out = golden_take(c, k, "out"), *dout = golden_take(c, k, "dout");
    mcs_checkpoint_close(k);
    mcs_tensor *y = fn(c, in);
    check_ok(c);
    snprintf(what, sizeof what, "%s: out", name);
    check_near_named(what, y, out, rtol, atol);
    if (grads == 0)
        return;
    /* Twice: a backward that overwrites a gradient instead of adding to it is caught. */
    for (int times = 1; times <= 2; times++) {
        if (mcs_backward(c, y, dout) != MCS_OK)
            check_ok(c);
        for (int i = 0; i < INPUTS_MAX; i++) {
            if (!grad[i])
                continue;
            snprintf(what, sizeof what, "%s: grad.%d%s", name, i, times > 1 ? " added twice" : "");
            check_near_named(what, mcs_grad(c, in[i]), grad[i], rtol, atol * (float)times);
            for (int64_t j = 0; j < mcs_numel(grad[i]); j++)
                mcs_f32(grad[i])[j] *= 2;
        }
    }
}

/* ---- Shared data ---- */

const char *check_data(const char *rel)
{
    static char path[1024];
    const char *root = getenv("MCS_TEST_DATA");
    snprintf(path, sizeof path, "%s/%s", root && *root ? root : "../shared/data", rel);
    if (access(path, R_OK) != 0) {
        print_message("skip: %s is absent\n", path);
        skip();
    }
    return path;
}
