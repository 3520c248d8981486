/* sam_prompt.c - SAM's prompt encoder: points, boxes and masks become tokens.
 *
 * Must agree with segment_anything/modeling/prompt_encoder.py.
 *
 *   PE(p) = [sin a, cos a],  a = 2 pi (2p - 1) F,  p = (x,y) in [0,1]^2, F (2,dim/2) random but
 *           fixed (Tancik et al. 2020, arXiv 2006.10739)
 *   point:  PE((xy + .5) / S) + embedding[label];  label -1: not_a_point alone, no PE
 *   box:    PE(corner) + embedding[2] and [3]
 *   mask:   conv1x1(gelu LN conv2x2/2(gelu LN conv2x2/2(mask))), or no_mask everywhere
 *
 * Points without a box are followed by one padding point of label -1.  Coordinates and F take no
 * gradient, so the encodings are constants; the embeddings are gathered from one table of five
 * rows, which gives their gradients. */
#include <math.h>
#include <stdlib.h>
#include "models/sam_internal.h"
#include "tensor/parallel.h"

/* Rows of the table that sparse tokens are gathered from: label + 1, then box corners. */
enum { ROW_CORNER0 = 3, ROW_CORNER1 = 4, ROW_COUNT = 5 };

void mcs_sam_prompt_init(mcs_sam_prompt_encoder *m, mcs_ns ns, const mcs_sam_decoder_config *cfg,
                         int grid, int image)
{
    int64_t dim = cfg->dim, wide = cfg->mask_channels, narrow = wide / 4;
    m->dim = cfg->dim;
    m->grid = grid;
    m->image = image;
    m->gaussian = mcs_buffer(mcs_ns_sub(ns, "pe_layer"), "positional_encoding_gaussian_matrix",
                             MCS_INIT_NORMAL, 2, MCS_SHAPE(2, dim / 2));
    for (int i = 0; i < 4; i++)
        mcs_embedding_init(&m->point[i], mcs_ns_sub(ns, "point_embeddings.%d", i), 1, dim);
    mcs_embedding_init(&m->not_a_point, mcs_ns_sub(ns, "not_a_point_embed"), 1, dim);
    mcs_ns down = mcs_ns_sub(ns, "mask_downscaling");
    m->mask_name = down.path;
    mcs_conv_init(&m->down[0], mcs_ns_sub(down, "0"), 1, narrow, 2, 2, 0, 1, true);
    mcs_layernorm_init(&m->down_norm[0], mcs_ns_sub(down, "1"), narrow, 1e-6f);
    mcs_conv_init(&m->down[1], mcs_ns_sub(down, "3"), narrow, wide, 2, 2, 0, 1, true);
    mcs_layernorm_init(&m->down_norm[1], mcs_ns_sub(down, "4"), wide, 1e-6f);
    mcs_conv_init(&m->down[2], mcs_ns_sub(down, "6"), wide, dim, 1, 1, 0, 1, true);
    mcs_embedding_init(&m->no_mask, mcs_ns_sub(ns, "no_mask_embed"), 1, dim);
}

/* PE of (x,y) in [0,1]^2 into dim values; the order of operations is the original's. */
static void encode_position(const mcs_sam_prompt_encoder *m, float x, float y, float *out)
{
    int half = m->dim / 2;
    const float *fx = mcs_f32(m->gaussian), *fy = fx + half;
    float u = 2.0f * x - 1.0f, v = 2.0f * y - 1.0f;
    for (int i = 0; i < half; i++) {
        float a = 6.28318530717958647692f * (u * fx[i] + v * fy[i]);
        out[i] = sinf(a);
        out[half + i] = cosf(a);
    }
}

typedef struct {
    const mcs_sam_prompt_encoder *m;
    float *out;
} pe_args;

static void pe_range(void *arg, int64_t begin, int64_t end)
{
    const pe_args *a = arg;
    int grid = a->m->grid;
    for (int64_t i = begin; i < end; i++) {
        float x = ((float)(i % grid) + 0.5f) / (float)grid;
        float y = ((float)(i / grid) + 0.5f) / (float)grid;
        encode_position(a->m, x, y, a->out + i * a->m->dim);
    }
}

mcs_tensor *mcs_sam_dense_pe(mcs_ctx *c, const mcs_sam_prompt_encoder *m)
{
    int64_t cells = (int64_t)m->grid * m->grid;
    mcs_tensor *pe = mcs_new(c, 3, MCS_SHAPE(1, cells, m->dim));
    if (!pe)
        return NULL;
    pe_args a = { m, mcs_f32(pe) };
    mcs_parallel_for(c, cells, 16, pe_range, &a);
    return pe;
}

/* Fills in token t: its encoding and its row of the table.  False: not finite, or no such row. */
static bool token_set(const mcs_sam_prompt_encoder *m, const float *xy, int row, float *pe,
                      int64_t *id)
{
    if (row < 0 || row >= ROW_COUNT)
        return false;
    *id = row;
    if (row == 0) {
        for (int i = 0; i < m->dim; i++)
            pe[i] = 0.0f;
        return true;
    }
    if (!isfinite(xy[0]) || !isfinite(xy[1]))
        return false;
    float side = (float)m->image;
    encode_position(m, (xy[0] + 0.5f) / side, (xy[1] + 0.5f) / side, pe);
    return true;
}

/* The tokens of prompt i in the original's order: points, padding point, box corners. */
static bool tokens_set(const mcs_sam_prompt_encoder *m, const mcs_sam_prompts *p, int i, float *pe,
                       int64_t *id)
{
    int n = 0;
    for (int k = 0; k < p->points; k++, n++) {
        int64_t at = (int64_t)i * p->points + k;
        if (p->labels[at] < -1 || p->labels[at] > 1 ||
            !token_set(m, p->xy + 2 * at, p->labels[at] + 1, pe + (int64_t)n * m->dim, id + n))
            return false;
    }
    if (!p->boxes)
        return token_set(m, NULL, 0, pe + (int64_t)n * m->dim, id + n);
    const float *box = p->boxes + 4 * (int64_t)i;
    return token_set(m, box, ROW_CORNER0, pe + (int64_t)n * m->dim, id + n) &&
           token_set(m, box + 2, ROW_CORNER1, pe + (int64_t)(n + 1) * m->dim, id + n + 1);
}

mcs_tensor *mcs_sam_sparse(mcs_ctx *c, const mcs_sam_prompt_encoder *m, const mcs_sam_prompts *p,
                           int i, bool *none)
{
    *none = !p->boxes && p->points == 0;
    if (*none)
        return NULL;
    int64_t n = (int64_t)p->points + (p->boxes ? 2 : 1);
    mcs_tensor *pe = mcs_new(c, 3, MCS_SHAPE(1, n, m->dim));
    mcs_tensor *ids = mcs_new_typed(c, MCS_I64, 2, MCS_SHAPE(1, n));
    if (!pe || !ids)
        return NULL;
    if (!tokens_set(m, p, i, mcs_f32(pe), mcs_i64(ids)))
        return mcs_fail(c, MCS_EINVAL,
                        "sam prompt %d: coordinates must be finite and labels 1 (object), 0 "
                        "(background) or -1 (none)",
                        i);
    const mcs_tensor *rows[ROW_COUNT] = { m->not_a_point.weight, m->point[0].weight,
                                          m->point[1].weight, m->point[2].weight,
                                          m->point[3].weight };
    mcs_tensor *table = mcs_concat(c, 0, ROW_COUNT, rows);
    return mcs_add(c, pe, mcs_embedding(c, table, ids));
}

mcs_tensor *mcs_sam_dense(mcs_ctx *c, const mcs_sam_prompt_encoder *m, const mcs_sam_prompts *p,
                          int i)
{
    if (!p->mask)
        return mcs_reshape(c, m->no_mask.weight, 3, MCS_SHAPE(1, 1, m->dim));
    mcs_tensor *x = mcs_rows(c, p->mask, i, (int64_t)i + 1);
    for (int k = 0; k < 2; k++) {
        x = mcs_conv_forward(c, &m->down[k], x);
        x = mcs_gelu(c, mcs_layernorm2d_forward(c, &m->down_norm[k], x));
    }
    x = mcs_tap(c, m->mask_name, mcs_conv_forward(c, &m->down[2], x));
    x = mcs_reshape(c, x, 3, MCS_SHAPE(1, m->dim, (int64_t)m->grid * m->grid));
    return mcs_transpose(c, x, 1, 2);
}
