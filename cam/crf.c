/* crf.c - mean-field inference in a fully connected CRF (Kraehenbuehl and Koltun 2011, alg. 1).
 *
 *   E(x) = sum_i U_i(x_i) + sum_{i<j} sum_t w_t [x_i != x_j] K~t_ij
 *   Q_i(l) ~ exp(-U_i(l) + sum_t w_t sum_j K~t_ij Q_j(l))
 * With Potts compatibility, the penalty of the other labels and the reward of the same one differ
 * by a constant.  The message passing sum_j K~_ij Q_j is one lattice filter between two products
 * with D = 1/sqrt(K 1 + 1e-20), where K 1 comes from the same lattice; its self term stays, as in
 * the authors' DenseCRF, whose results these are (parity: docs/numerics.md). */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "cam/crf.h"

typedef struct {
    mcs_lattice *lattice;
    float *norm; /* (n): D */
    float compat;
} crf_term;

struct mcs_crf {
    int64_t n;
    int labels, term_count;
    float *unary; /* (n, labels) */
    crf_term *terms;
    mcs_pool *pool;
};

enum { GRAIN = 16384 }; /* points per range */

static bool all_finite(const float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(x[i]))
            return false;
    return true;
}

mcs_crf *mcs_crf_new(int64_t n, int labels, const float *unary, mcs_pool *pool, mcs_error *e)
{
    if (n < 1 || n > INT32_MAX || labels < 2 || labels > 4096 || !unary) {
        mcs_error_set(e, MCS_EINVAL,
                      "crf: %lld points, %d labels; expected 1 to 2^31-1 and 2 to 4096",
                      (long long)n, labels);
        return NULL;
    }
    if (!all_finite(unary, n * labels)) {
        mcs_error_set(e, MCS_ENUMERIC, "crf: the unary energies contain NaN or infinity");
        return NULL;
    }
    size_t bytes = (size_t)n * (size_t)labels * sizeof(float);
    mcs_crf *f = calloc(1, sizeof *f);
    if (f && (f->unary = malloc(bytes))) {
        memcpy(f->unary, unary, bytes);
        f->n = n;
        f->labels = labels;
        f->pool = pool;
        return f;
    }
    free(f);
    mcs_error_set(e, MCS_ENOMEM, "crf: out of memory for %lld points of %d labels", (long long)n,
                  labels);
    return NULL;
}

void mcs_crf_free(mcs_crf *f)
{
    if (!f)
        return;
    for (int t = 0; t < f->term_count; t++) {
        mcs_lattice_free(f->terms[t].lattice);
        free(f->terms[t].norm);
    }
    free(f->terms);
    free(f->unary);
    free(f);
}

static mcs_status term_init(crf_term *t, const mcs_crf *f, const float *features, int dim,
                            mcs_error *e)
{
    t->lattice = mcs_lattice_new(features, f->n, dim, f->pool, e);
    if (!t->lattice)
        return e ? e->status : MCS_EINVAL;
    t->norm = malloc((size_t)f->n * sizeof *t->norm);
    if (!t->norm)
        return mcs_error_set(e, MCS_ENOMEM, "crf: out of memory for %lld points", (long long)f->n);
    for (int64_t i = 0; i < f->n; i++)
        t->norm[i] = 1;
    mcs_status s = mcs_lattice_filter(t->lattice, t->norm, t->norm, 1, f->pool, e);
    for (int64_t i = 0; s == MCS_OK && i < f->n; i++)
        t->norm[i] = (float)(1.0 / sqrt((double)t->norm[i] + 1e-20));
    return s;
}

mcs_status mcs_crf_add(mcs_crf *f, const float *features, int dim, float compat, mcs_error *e)
{
    if (!isfinite(compat))
        return mcs_error_set(e, MCS_EINVAL, "crf: the compatibility of a term is not finite");
    crf_term *terms = realloc(f->terms, (size_t)(f->term_count + 1) * sizeof *terms);
    if (!terms)
        return mcs_error_set(e, MCS_ENOMEM, "crf: out of memory");
    f->terms = terms;
    mcs_error local = { 0 };
    crf_term t = { .compat = compat };
    mcs_status s = term_init(&t, f, features, dim, &local);
    if (s != MCS_OK) {
        mcs_lattice_free(t.lattice);
        free(t.norm);
        return mcs_error_set(e, s, "%s", local.message);
    }
    f->terms[f->term_count++] = t;
    return MCS_OK;
}

/* ---- Mean field ---- */

typedef struct {
    const mcs_crf *f;
    const crf_term *term;
    float *q, *belief, *message; /* (n, labels) */
} infer_args;

/* q = softmax(belief) */
static void softmax_range(void *arg, int64_t begin, int64_t end)
{
    const infer_args *a = arg;
    int labels = a->f->labels;
    for (int64_t i = begin; i < end; i++) {
        const float *x = a->belief + i * labels;
        float *q = a->q + i * labels, top = x[0], sum = 0;
        for (int l = 1; l < labels; l++)
            top = x[l] > top ? x[l] : top;
        for (int l = 0; l < labels; l++)
            sum += q[l] = expf(x[l] - top);
        for (int l = 0; l < labels; l++)
            q[l] /= sum;
    }
}

/* belief = -U */
static void unary_range(void *arg, int64_t begin, int64_t end)
{
    const infer_args *a = arg;
    for (int64_t i = begin * a->f->labels; i < end * a->f->labels; i++)
        a->belief[i] = -a->f->unary[i];
}

/* message = D q */
static void before_range(void *arg, int64_t begin, int64_t end)
{
    const infer_args *a = arg;
    int labels = a->f->labels;
    for (int64_t i = begin; i < end; i++)
        for (int l = 0; l < labels; l++)
            a->message[i * labels + l] = a->q[i * labels + l] * a->term->norm[i];
}

/* belief += compat D message */
static void after_range(void *arg, int64_t begin, int64_t end)
{
    const infer_args *a = arg;
    int labels = a->f->labels;
    for (int64_t i = begin; i < end; i++)
        for (int l = 0; l < labels; l++)
            a->belief[i * labels + l] +=
                a->term->compat * (a->message[i * labels + l] * a->term->norm[i]);
}

static mcs_status infer_step(infer_args *a, mcs_error *e)
{
    const mcs_crf *f = a->f;
    mcs_pool_for(f->pool, f->n, GRAIN, unary_range, a);
    for (int t = 0; t < f->term_count; t++) {
        a->term = &f->terms[t];
        mcs_pool_for(f->pool, f->n, GRAIN, before_range, a);
        mcs_status s =
            mcs_lattice_filter(a->term->lattice, a->message, a->message, f->labels, f->pool, e);
        if (s != MCS_OK)
            return s;
        mcs_pool_for(f->pool, f->n, GRAIN, after_range, a);
    }
    mcs_pool_for(f->pool, f->n, GRAIN, softmax_range, a);
    return MCS_OK;
}

mcs_status mcs_crf_infer(const mcs_crf *f, int iterations, float *q, mcs_error *e)
{
    if (iterations < 0)
        return mcs_error_set(e, MCS_EINVAL, "crf: %d iterations; expected 0 or more", iterations);
    size_t bytes = (size_t)f->n * (size_t)f->labels * sizeof(float);
    infer_args a = { .f = f, .q = q, .belief = malloc(bytes), .message = malloc(bytes) };
    mcs_status s = MCS_OK;
    if (a.belief && a.message) {
        mcs_pool_for(f->pool, f->n, GRAIN, unary_range, &a);
        mcs_pool_for(f->pool, f->n, GRAIN, softmax_range, &a);
        for (int i = 0; s == MCS_OK && i < iterations; i++)
            s = infer_step(&a, e);
    } else {
        s = mcs_error_set(e, MCS_ENOMEM, "crf: out of memory for %lld points of %d labels",
                          (long long)f->n, f->labels);
    }
    free(a.belief);
    free(a.message);
    return s;
}
