/* op_attention_scores.c - a block of attention scores.
 *
 *   s[q,k] = scale <q, k> + bias[q,k] + <q, Rh[qh - kh + gh - 1]> + <q, Rw[qw - kw + gw - 1]>
 *
 * with token q at (qh, qw) = (q / gw, q % gw) of the grid, and likewise k.  The two terms of
 * the decomposed relative position depend on the key only through its row or its column, so
 * they are products of the block's queries with the whole tables, 2 gh - 1 and 2 gw - 1 wide,
 * that are added while the block of scores is in cache.
 * Must agree with add_decomposed_rel_pos of segment_anything/modeling/image_encoder.py
 * (Li et al. 2022, MViTv2, eq. 4). */
#include "tensor/attention_internal.h"
#include <math.h>
#include "tensor/gemm.h"

void mcs_attn_reverse(float *x, int64_t n)
{
    for (int64_t i = 0, j = n - 1; i < j; i++, j--) {
        float t = x[i];
        x[i] = x[j];
        x[j] = t;
    }
}

void mcs_attn_rel_terms(const mcs_attn_job *a, const mcs_attn_rows *r)
{
    if (!a->rel_h)
        return;
    int64_t nh = mcs_attn_rel_h(a), nw = mcs_attn_rel_w(a);
    const float *q = mcs_attn_at(&a->q, r->image, r->head, r->q0);
    mcs_gemm_serial(false, true, r->rows, nh, a->d, 1, q, a->q.token, a->rel_h, a->d, 0, r->rel_h,
                    nh);
    mcs_gemm_serial(false, true, r->rows, nw, a->d, 1, q, a->q.token, a->rel_w, a->d, 0, r->rel_w,
                    nw);
    for (int64_t i = 0; i < r->rows; i++) {
        mcs_attn_reverse(r->rel_h + i * nh + (r->q0 + i) / a->gw, a->gh);
        mcs_attn_reverse(r->rel_w + i * nw + (r->q0 + i) % a->gw, a->gw);
    }
}

/* s[0 .. keys) of one query += th[kh] + tw[kw], keys k0 .. in the order of the grid. */
static void add_rel_row(float *s, const float *th, const float *tw, int64_t gw, int64_t k0,
                        int64_t keys)
{
    int64_t kh = k0 / gw, kw = k0 % gw;
    while (keys > 0) {
        int64_t n = gw - kw < keys ? gw - kw : keys;
        float h = th[kh++];
        for (int64_t i = 0; i < n; i++)
            s[i] += h + tw[kw + i];
        s += n;
        keys -= n;
        kw = 0;
    }
}

static void add_rel(const mcs_attn_job *a, const mcs_attn_rows *r, int64_t k0, int64_t keys,
                    float *s)
{
    int64_t nh = mcs_attn_rel_h(a), nw = mcs_attn_rel_w(a);
    for (int64_t i = 0; i < r->rows; i++) {
        int64_t q = r->q0 + i;
        add_rel_row(s + i * keys, r->rel_h + i * nh + q / a->gw, r->rel_w + i * nw + q % a->gw,
                    a->gw, k0, keys);
    }
}

static void mask_keys(const uint8_t *mask, int64_t rows, int64_t keys, float *s)
{
    for (int64_t j = 0; j < keys; j++)
        if (!mask[j])
            for (int64_t i = 0; i < rows; i++)
                s[i * keys + j] = -INFINITY;
}

void mcs_attn_scores(const mcs_attn_job *a, const mcs_attn_rows *r, int64_t k0, int64_t keys,
                     float *s)
{
    mcs_gemm_serial(false, true, r->rows, keys, a->d, a->scale,
                    mcs_attn_at(&a->q, r->image, r->head, r->q0), a->q.token,
                    mcs_attn_at(&a->k, r->image, r->head, k0), a->k.token, 0, s, keys);
    if (a->bias) {
        const float *bias = a->bias + (r->head * a->nq + r->q0) * a->nk + k0;
        for (int64_t i = 0; i < r->rows; i++)
            a->vec->add(s + i * keys, s + i * keys, bias + i * a->nk, keys);
    }
    if (a->rel_h)
        add_rel(a, r, k0, keys, s);
    if (a->key_mask)
        mask_keys(a->key_mask + r->image * a->nk + k0, r->rows, keys, s);
}
