/* attention_internal.h - what the files of the attention operation share.  Private to tensor/.
 *
 * A job describes one call: where q, k, v and the result lie, whatever the layout, and how the
 * (Nq, Nk) scores of an image and head are cut into blocks of block_q x block_k. */
#ifndef MCS_ATTENTION_INTERNAL_H
#define MCS_ATTENTION_INTERNAL_H
#include "tensor/op.h"
#include "tensor/vec.h"

/* Elements between neighbouring tokens, heads and images: q, k and v are read in place from a
 * packed projection or from tensors of their own. */
typedef struct {
    const float *data;
    int64_t token, head, image;
} mcs_attn_view;

typedef struct {
    int64_t batch, heads, nq, nk, d, dv; /* dv: head dimension of v and of the result */
    float scale;
    mcs_attn_view q, k, v, out; /* probs only: v.data is NULL */
    const float *bias; /* (heads, nq, nk); NULL: none */
    const uint8_t *key_mask; /* (batch, nk); NULL: none */
    /* Both tables of the relative position, one under the other and each upside down, so that
     * the terms of ascending key rows (columns) follow each other; NULL: none. */
    const float *rel; /* (rel_n, d), rel_n = 2 gh - 1 + 2 gw - 1; rel_n is 0 without */
    int64_t rel_n, gh, gw;
    int64_t block_q, block_k;
    int64_t ld; /* of a block of scores: block_k rounded up to MCS_ATTN_PAD */
    const mcs_vec *vec;
} mcs_attn_job;

/* One block of queries of one image and head, and the relative-position terms of its rows. */
typedef struct {
    int64_t image, head, q0, rows;
    float *rel; /* (rows, rel_n): see mcs_attn_rel_terms() */
} mcs_attn_rows;

/* Rows of scores are padded with -inf to a multiple of this many keys: vector kernels slow down
 * by half for a row of 196 or 197, and there are thousands of them. */
enum { MCS_ATTN_PAD = 16 };
static inline int64_t mcs_attn_padded(int64_t keys)
{
    return (keys + MCS_ATTN_PAD - 1) / MCS_ATTN_PAD * MCS_ATTN_PAD;
}

static inline const float *mcs_attn_at(const mcs_attn_view *v, int64_t image, int64_t head,
                                       int64_t token)
{
    return v->data + image * v->image + head * v->head + token * v->token;
}

/* Where the terms of a query begin in its row of rel_n: those of key row kh at
 * mcs_attn_rel_h() + kh, those of key column kw at mcs_attn_rel_w() + kw. */
static inline int64_t mcs_attn_rel_h(const mcs_attn_job *a, int64_t q)
{
    return a->gh - 1 - q / a->gw;
}

static inline int64_t mcs_attn_rel_w(const mcs_attn_job *a, int64_t q)
{
    return 2 * a->gh - 1 + a->gw - 1 - q % a->gw;
}

static inline int64_t mcs_attn_blocks_q(const mcs_attn_job *a)
{
    return mcs_range_count(a->nq, a->block_q);
}

/* Fill in a job from the inputs of a call; false after mcs_fail(), or if an input is NULL. */
bool mcs_attn_separate(mcs_ctx *c, const char *op, mcs_attn_job *a, const mcs_tensor *q,
                       const mcs_tensor *k, const mcs_tensor *v, const mcs_attention_opts *o);
bool mcs_attn_packed(mcs_ctx *c, const char *op, mcs_attn_job *a, const mcs_tensor *qkv,
                     mcs_qkv_layout layout, const mcs_attention_opts *o);
/* x (B,N,C) from channel `offset` on, heads `head` channels apart. */
mcs_attn_view mcs_attn_view_of(const mcs_tensor *x, int64_t offset, int64_t head);

/* The products of the block's queries with both tables, into r->rel. */
void mcs_attn_rel_terms(const mcs_attn_job *a, const mcs_attn_rows *r);
/* s (rows, keys) at ld = scale q k^T + bias + relative position for keys k0 .. k0+keys; -inf if
 * masked, and in the columns between keys and mcs_attn_padded(keys) as far as ld reaches. */
void mcs_attn_scores(const mcs_attn_job *a, const mcs_attn_rows *r, int64_t k0, int64_t keys,
                     float *s, int64_t ld);

/* Tasks per range.  Each range has scratch of its own, so there are only a few per thread:
 * forward's tasks do not meet, and how they are grouped leaves the result as it is. */
static inline int64_t mcs_attn_grain(const mcs_ctx *c, int64_t tasks)
{
    return mcs_range_count(tasks, 8 * (int64_t)mcs_pool_threads(mcs_ctx_pool(c)));
}

/* What forward leaves for backward. */
typedef struct {
    mcs_attn_job job;
    float *lse; /* (batch, heads, nq): log of the sum of exp(score); +inf if no key takes part */
    bool packed; /* inputs: qkv, bias, rel_h, rel_w instead of q, k, v, bias, rel_h, rel_w */
    bool probs; /* the result is the probabilities themselves */
} mcs_attn_saved;

/* op_attention.c: the result into job->out, and lse unless it is NULL. */
void mcs_attn_forward(mcs_ctx *c, const mcs_attn_job *a, float *lse);
/* A copy of the job (its pointers stay valid as long as the tape does), with room for lse unless
 * v is missing, which means probabilities.  NULL: out of memory. */
mcs_attn_saved *mcs_attn_save(mcs_ctx *c, const mcs_attn_job *a, bool packed);
void mcs_attn_backward(mcs_ctx *c, mcs_node *n);
#endif
