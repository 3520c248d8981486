/* relevance.c - attention relevance (Chefer, Gur, Wolf: Generic Attention-model Explainability for
 * Interpreting Bi-Modal and Encoder-Decoder Transformers, ICCV 2021, eq. 5-6, self-attention case).
 *
 *   R = (I + E_L) ... (I + E_2) (I + E_1),   E_l = mean over heads of relu(dA_l * A_l)
 * Only row 0 is wanted, so a row vector goes from the last layer to the first,
 *   r = e_0;   r = r + r E_l,  l = L..1
 * which costs one pass over each layer's probabilities and no product of matrices. */
#include <math.h>
#include <string.h>
#include "cam/cam_internal.h"
#include "tensor/op.h"

typedef struct {
    mcs_ctx *c;
    const mcs_cam_model *m;
    const char *const *probs;
    int layers;
    const mcs_tensor *feature; /* (1,D) */
    mcs_tensor **a; /* (layers): probabilities (1,heads,N,N) */
    int64_t tokens;
} relevance;

static bool watched_probs(relevance *r)
{
    char shape[80];
    for (int l = 0; l < r->layers; l++) {
        mcs_tensor *a = r->a[l] = mcs_watched(r->c, r->probs[l]);
        if (!a) {
            mcs_fail(r->c, MCS_ENOTFOUND, "relevance: the model has no layer '%s'", r->probs[l]);
            return false;
        }
        if (a->ndim != 4 || a->shape[0] != 1 || a->shape[2] != r->tokens ||
            a->shape[3] != r->tokens) {
            mcs_fail(r->c, MCS_ESHAPE, "relevance: '%s' gives %s, expected (1,heads,%lld,%lld)",
                     r->probs[l], mcs_shape_str(a, shape, sizeof shape), (long long)r->tokens,
                     (long long)r->tokens);
            return false;
        }
    }
    return true;
}

static bool forward(relevance *r, const mcs_tensor *image)
{
    mcs_ctx *c = r->c;
    mcs_hook_clear(c);
    for (int l = 0; l < r->layers; l++)
        if (mcs_watch(c, r->probs[l]) != MCS_OK)
            return false;
    bool grad = mcs_set_grad(c, true);
    r->feature = r->m->features(c, mcs_detach(c, image), r->m->arg);
    mcs_set_grad(c, grad);
    bool ok = r->feature && watched_probs(r);
    mcs_hook_clear(c);
    return ok;
}

/* r += r E, for one layer; next: scratch. */
static void through_layer(const mcs_tensor *a, const float *g, int64_t n, double *r, double *next)
{
    int64_t heads = a->shape[1];
    memcpy(next, r, (size_t)n * sizeof *r);
    for (int64_t h = 0; h < heads; h++)
        for (int64_t i = 0; i < n; i++) {
            const float *row = mcs_f32(a) + (h * n + i) * n, *grad = g + (h * n + i) * n;
            double scale = r[i] / (double)heads;
            for (int64_t j = 0; scale != 0 && j < n; j++) {
                double e = (double)grad[j] * (double)row[j];
                next[j] += e > 0 ? scale * e : 0;
            }
        }
    memcpy(r, next, (size_t)n * sizeof *r);
}

static bool one_text(relevance *r, const float *text, double *row, double *next, float *map)
{
    mcs_ctx *c = r->c;
    for (int l = 0; l < r->layers; l++) { /* gradients of the text before */
        mcs_tensor *g = mcs_grad(c, r->a[l]);
        if (g)
            memset(g->data, 0, (size_t)mcs_numel(g) * sizeof(float));
    }
    mcs_tensor *dy = mcs_from(c, MCS_F32, 2, r->feature->shape, text);
    if (!dy || mcs_backward(c, r->feature, dy) != MCS_OK)
        return false;
    memset(row, 0, (size_t)r->tokens * sizeof *row);
    row[0] = 1;
    for (int l = r->layers - 1; l >= 0; l--) {
        const mcs_tensor *g = mcs_grad(c, r->a[l]);
        if (g)
            through_layer(r->a[l], mcs_f32(g), r->tokens, row, next);
    }
    bool finite = true;
    for (int64_t i = r->m->skip; i < r->tokens; i++) {
        map[i - r->m->skip] = (float)row[i];
        finite &= isfinite(row[i]) != 0;
    }
    if (!finite)
        mcs_fail(c, MCS_ENUMERIC, "relevance: NaN or infinity in the attention or its gradient");
    return finite;
}

mcs_tensor *mcs_relevance(mcs_ctx *c, const mcs_cam_model *m, const char *const *probs, int layers,
                          const mcs_tensor *image, const mcs_tensor *text, float *peak)
{
    if (!mcs_ok_dim(c, "relevance: image", image, 4) || !mcs_ok_dim(c, "relevance: text", text, 2))
        return NULL;
    if (layers < 1 || m->skip < 1 || m->grid_h < 1 || m->grid_w < 1 || image->shape[0] != 1)
        return mcs_fail(c, MCS_EINVAL,
                        "relevance: %d layers, %d leading tokens, grid %d x %d, %lld pictures; "
                        "expected at least one of each and one picture",
                        layers, m->skip, m->grid_h, m->grid_w, (long long)image->shape[0]);
    relevance r = { .c = c, .m = m, .probs = probs, .layers = layers };
    int64_t cells = (int64_t)m->grid_h * m->grid_w, texts = text->shape[0];
    r.tokens = m->skip + cells;
    r.a = mcs_alloc(c, (size_t)layers * sizeof *r.a);
    double *row = mcs_alloc(c, 2 * (size_t)r.tokens * sizeof *row);
    mcs_tensor *maps = mcs_new(c, 3, MCS_SHAPE(texts, m->grid_h, m->grid_w));
    if (!r.a || !row || !maps || !forward(&r, image))
        return NULL;
    if (r.feature->ndim != 2 || r.feature->shape[1] != text->shape[1])
        return mcs_fail(c, MCS_ESHAPE, "relevance: text has %lld numbers, the features do not",
                        (long long)text->shape[1]);
    for (int64_t p = 0; p < texts; p++) {
        float *map = mcs_f32(maps) + p * cells;
        if (!one_text(&r, mcs_f32(text) + p * text->shape[1], row, row + r.tokens, map))
            return NULL;
        float top = mcs_cam_scale(map, cells);
        if (peak)
            peak[p] = top;
    }
    return maps;
}
