/* cam_tiny.h - the tiny vision transformer of tests/golden/make_cam.py and its golden maps. */
#ifndef MCS_CAM_TINY_H
#define MCS_CAM_TINY_H
#include <math.h>
#include "tests/check.h"

enum { DIM = 12, HEADS = 2, PATCH = 4, GRID = 4, OUT = 6, TEXTS = 3, TOPK = 5 };

typedef struct {
    const mcs_tensor *patch, *cls, *pos, *qkv, *proj, *fc1, *fc2, *head, *ln[3][2];
    int calls, pictures; /* counts of the work done */
    int more; /* further blocks of the same weights */
    bool spoil; /* the second picture of a batch gives NaN */
} tiny;

static const mcs_tensor *weight(mcs_ctx *c, const char *name)
{
    char key[40];
    snprintf(key, sizeof key, "w.%s", name);
    const mcs_tensor *w = check_golden_tensor(c, "cam", key);
    assert_non_null(w);
    return w;
}

static void tiny_init(mcs_ctx *c, tiny *t)
{
    const char *norm[3][2] = { { "norm1.w", "norm1.b" },
                               { "norm2.w", "norm2.b" },
                               { "norm.w", "norm.b" } };
    *t = (tiny){ .patch = weight(c, "patch"),
                 .cls = weight(c, "cls"),
                 .pos = weight(c, "pos"),
                 .qkv = weight(c, "qkv"),
                 .proj = weight(c, "proj"),
                 .fc1 = weight(c, "fc1"),
                 .fc2 = weight(c, "fc2"),
                 .head = weight(c, "head") };
    for (int i = 0; i < 6; i++)
        t->ln[i / 2][i % 2] = weight(c, norm[i / 2][i % 2]);
}

static mcs_tensor *norm(mcs_ctx *c, const tiny *t, int i, const mcs_tensor *x)
{
    return mcs_layer_norm(c, x, t->ln[i][0], t->ln[i][1], 1e-6f);
}

/* softmax(q k^T) v with the probabilities tapped. */
static mcs_tensor *tiny_attention(mcs_ctx *c, int i, const mcs_tensor *qkv)
{
    if (!qkv)
        return NULL;
    char name[24];
    snprintf(name, sizeof name, "probs.%d", i);
    int64_t b = qkv->shape[0], n = qkv->shape[1], d = DIM / HEADS;
    mcs_attention_opts o = { .heads = HEADS };
    mcs_tensor *p = mcs_attention_probs(c, mcs_slice(c, qkv, 2, 0, DIM),
                                        mcs_slice(c, qkv, 2, DIM, 2 * DIM), &o);
    mcs_tensor *v =
        mcs_reshape(c, mcs_slice(c, qkv, 2, 2 * DIM, 3 * DIM), 4, MCS_SHAPE(b, n, HEADS, d));
    v = mcs_matmul(c, mcs_tap(c, name, p), mcs_transpose(c, v, 1, 2));
    return mcs_reshape(c, mcs_transpose(c, v, 1, 2), 3, MCS_SHAPE(b, n, DIM));
}

static mcs_tensor *tiny_block(mcs_ctx *c, const tiny *t, int i, const mcs_tensor *x)
{
    mcs_tensor *h = mcs_tap(c, "norm1", norm(c, t, 0, x));
    h = tiny_attention(c, i, mcs_linear(c, h, t->qkv, NULL));
    mcs_tensor *y = mcs_linear_add(c, h, t->proj, NULL, x);
    h = mcs_tap(c, "norm2", norm(c, t, 1, y));
    y = mcs_linear_add(c, mcs_linear_gelu(c, h, t->fc1, NULL), t->fc2, NULL, y);
    char name[24];
    snprintf(name, sizeof name, "block.%d", i);
    return mcs_tap(c, name, y);
}

static mcs_tensor *tiny_features(mcs_ctx *c, const mcs_tensor *image, void *arg)
{
    tiny *t = arg;
    int64_t b = image->shape[0];
    t->calls++;
    t->pictures += (int)b;
    mcs_tensor *x = mcs_conv2d(c, image, t->patch, NULL,
                               (mcs_conv_opts){ .stride_h = PATCH, .stride_w = PATCH });
    x = mcs_tap(c, "patches", x);
    x = mcs_transpose(c, mcs_reshape(c, x, 3, MCS_SHAPE(b, DIM, GRID * GRID)), 1, 2);
    const mcs_tensor *parts[2] = { mcs_expand(c, t->cls, 3, MCS_SHAPE(b, 1, DIM)), x };
    x = mcs_add(c, mcs_concat(c, 1, 2, parts), t->pos);
    for (int i = 0; i < 1 + t->more; i++)
        x = tiny_block(c, t, i, x);
    x = mcs_slice(c, norm(c, t, 2, x), 1, 0, 1);
    x = mcs_linear(c, mcs_reshape(c, x, 2, MCS_SHAPE(mcs_dim(x, 0), DIM)), t->head, NULL);
    x = mcs_tap(c, "features", mcs_l2_normalize(c, x, 1e-12f));
    if (x && t->spoil && b > 1)
        mcs_f32(x)[OUT] = NAN;
    return x;
}

typedef struct {
    mcs_ctx *c;
    tiny t;
    mcs_tensor *image, *text;
} fixture;

static inline fixture begin(void)
{
    fixture f = { .c = check_ctx() };
    tiny_init(f.c, &f.t);
    f.image = check_golden_tensor(f.c, "cam", "image");
    f.text = check_golden_tensor(f.c, "cam", "text");
    return f;
}

static void compare_to(mcs_ctx *c, const char *file, const char *name, const mcs_tensor *maps)
{
    char key[48];
    check_ok(c);
    snprintf(key, sizeof key, "map.%s", name);
    const mcs_tensor *expected = check_golden_tensor(c, file, key);
    assert_non_null(expected);
    check_near_named(name, maps, expected, 1e-4f, 2e-5f);
}

static inline void compare(mcs_ctx *c, const char *name, const mcs_tensor *maps)
{
    compare_to(c, "cam", name, maps);
}
#endif
