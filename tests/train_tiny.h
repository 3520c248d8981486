/* train_tiny.h - training of the tiny BiomedCLIP as make_train.py does it. */
#ifndef MCS_TEST_TRAIN_TINY_H
#define MCS_TEST_TRAIN_TINY_H
#include <stdlib.h>
#include <string.h>
#include "models/clip_train.h"
#include "nn/optim.h"
#include "tests/clip_tiny.h"
#include "tests/wave.h"

enum { B = 6, STEPS = 10 };

/* The batch of make_train.py: pictures wave(100 + t), captions rolled by t. */
typedef struct {
    int step;
    int64_t calls;
} pictures;

static inline mcs_tensor *supply(mcs_ctx *c, void *arg, int64_t first, int64_t count)
{
    pictures *p = arg;
    int64_t one = 3 * 18 * 18;
    mcs_tensor *x = mcs_new(c, 4, MCS_SHAPE(count, 3, 18, 18));
    p->calls++;
    for (int64_t i = 0; x && i < count * one; i++)
        mcs_f32(x)[i] = 4 * wave_at(first * one + i, 100 + p->step);
    return x;
}

static inline int64_t *roll(const mcs_tensor *ids, int step)
{
    int64_t n = ids->shape[1], *out = malloc((size_t)(2 * B * n) * sizeof *out);
    for (int64_t i = 0; i < 2 * B; i++) /* the second set is rolled by one more */
        memcpy(out + i * n, mcs_i64(ids) + ((i + (i >= B) - step) % B + B) % B * n,
               (size_t)n * sizeof *out);
    return out;
}

typedef struct {
    mcs_biomedclip *m;
    mcs_params *p;
    mcs_optim *adamw;
    mcs_ctx *data, *c;
    mcs_clip_batch batch;
    pictures pictures;
    const mcs_tensor *ids;
} bench;

static inline bench begin(void)
{
    bench t = { .m = load("clip_tiny") };
    t.p = mcs_biomedclip_params(t.m);
    t.adamw = mcs_adamw_new(t.p, &(mcs_adamw_opts){ 0.9f, 0.98f, 1e-6f, 0.1f });
    t.data = mcs_ctx_new(NULL);
    t.c = check_ctx();
    t.ids = check_golden_tensor(t.data, "train_losses", "ids");
    t.batch =
        (mcs_clip_batch){ .size = B, .captions = 1, .length = t.ids->shape[1], .images = supply };
    return t;
}

static inline void end(bench *t)
{
    mcs_optim_free(t->adamw);
    mcs_ctx_free(t->data);
    mcs_biomedclip_free(t->m);
    mcs_ctx_free(t->c);
}

static inline double step(bench *t, int n, const mcs_clip_step_opts *o)
{
    mcs_error e = { MCS_OK, "" };
    double loss;
    int64_t *ids = roll(t->ids, n);
    t->pictures.step = n;
    t->batch.ids = ids;
    t->batch.images_arg = &t->pictures;
    mcs_params_zero_grad(t->p);
    if (mcs_clip_step(t->c, t->m, &t->batch, o, &loss) != MCS_OK)
        fail_msg("%s", mcs_ctx_message(t->c));
    mcs_grad_clip(t->p, mcs_ctx_pool(t->c), 1.0);
    assert_int_equal(mcs_optim_step(t->adamw, mcs_ctx_pool(t->c), 2e-3, &e), MCS_OK);
    free(ids);
    return loss;
}

static inline mcs_clip_step_opts dhn(int64_t micro)
{
    return (mcs_clip_step_opts){ .loss = mcs_contrastive_defaults(MCS_LOSS_DHN_NCE),
                                 .micro = micro };
}
#endif
