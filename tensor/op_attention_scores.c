/* op_attention_scores.c - a block of attention scores.
 *
 *   s[q,k] = scale <q, k> + bias[q,k] + <q, Rh[qh - kh + gh - 1]> + <q, Rw[qw - kw + gw - 1]>
 *
 * with token q at (qh, qw) = (q / gw, q % gw) of the grid, and likewise k.  The two terms of
 * the decomposed relative position depend on the key only through its row or its column, so
 * they come from one product of the block's queries with both tables, 2 gh - 1 + 2 gw - 1 wide,
 * and are added while the block of scores is in cache.
 * Must agree with add_decomposed_rel_pos of segment_anything/modeling/image_encoder.py
 * (Li et al. 2022, MViTv2, eq. 4). */
#include "tensor/attention_internal.h"
#include <math.h>
#include "tensor/gemm.h"

void mcs_attn_rel_terms(const mcs_attn_job *a, const mcs_attn_rows *r)
{
    if (a->rel)
        mcs_gemm_serial(false, true, r->rows, a->rel_n, a->d, 1,
                        mcs_attn_at(&a->q, r->image, r->head, r->q0), a->q.token, a->rel, a->d, 0,
                        r->rel, a->rel_n);
}

/* s[0 .. keys) of one query += th[kh] + tw[kw], keys k0 .. in the order of the grid. */
static void add_rel_row(float *restrict s, const float *restrict th, const float *restrict tw,
                        int64_t gw, int64_t k0, int64_t keys)
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

static void mask_keys(const uint8_t *mask, int64_t rows, int64_t keys, float *s, int64_t ld)
{
    for (int64_t j = 0; j < keys; j++)
        if (!mask[j])
            for (int64_t i = 0; i < rows; i++)
                s[i * ld + j] = -INFINITY;
}

void mcs_attn_scores(const mcs_attn_job *a, const mcs_attn_rows *r, int64_t k0, int64_t keys,
                     float *s, int64_t ld)
{
    int64_t padded = mcs_attn_padded(keys) < ld ? mcs_attn_padded(keys) : ld;
    mcs_gemm_serial(false, true, r->rows, keys, a->d, a->scale,
                    mcs_attn_at(&a->q, r->image, r->head, r->q0), a->q.token,
                    mcs_attn_at(&a->k, r->image, r->head, k0), a->k.token, 0, s, ld);
    for (int64_t i = 0; i < r->rows; i++) {
        int64_t q = r->q0 + i;
        float *row = s + i * ld;
        if (a->bias)
            a->vec->add(row, row, a->bias + (r->head * a->nq + q) * a->nk + k0, keys);
        if (a->rel) {
            const float *rel = r->rel + i * a->rel_n;
            add_rel_row(row, rel + mcs_attn_rel_h(a, q), rel + mcs_attn_rel_w(a, q), a->gw, k0,
                        keys);
        }
        for (int64_t j = keys; j < padded; j++)
            row[j] = -INFINITY;
    }
    if (a->key_mask)
        mask_keys(a->key_mask + r->image * a->nk + k0, r->rows, keys, s, ld);
}
