/* test_comm_train.c - training steps of several ranks, which are threads here: R shares of a batch
 * give the losses and weights of the whole batch, and a rank that fails stops all. */
#include <math.h>
#include "models/clip_train.h"
#include "nn/optim.h"
#include "tests/comm_notes.h"

/* ---- Training: R shares of a batch against the whole batch ---- */

enum { B = 7, SETS_MAX = 2, WORDS = 6, STEPS = 3 };

typedef struct {
    notes notes; /* first: EXPECT and run_ranks() take it for notes */
    mcs_contrastive_kind kind;
    int captions, micro, failing; /* failing: the rank whose pictures cannot be had; -1 */
    bool masked, learn_scale, one_empty;
    double loss[RANKS_MAX][STEPS];
    float *weights[RANKS_MAX];
    int64_t numel;
} training;

typedef struct {
    const int64_t *sample;
    bool fails;
} supply_args;

static mcs_tensor *supply(mcs_ctx *c, void *arg, int64_t first, int64_t count)
{
    const supply_args *s = arg;
    if (s->fails)
        return mcs_fail(c, MCS_EIO, "no picture here");
    mcs_tensor *x = mcs_new(c, 4, MCS_SHAPE(count, 3, 18, 18));
    for (int64_t i = 0; x && i < count; i++) {
        int64_t one = 3 * 18 * 18, sample = s->sample[first + i];
        for (int64_t k = 0; k < one; k++)
            mcs_f32(x)[i * one + k] =
                (float)((double)((sample * one + k) * 7919 % 2003) / 500.0 - 2.0);
    }
    return x;
}

/* The samples of rank r: r, r+R, ...; all samples in the order of the ranks' shares in `order`. */
static int64_t deal(const training *t, int rank, int size, int64_t *mine, int64_t *order)
{
    int64_t n = 0, all = 0;
    int dealt = t->one_empty && size > 1 ? size - 1 : size; /* the last gets none */
    for (int r = 0; r < dealt; r++)
        for (int64_t i = r; i < B; i += dealt) {
            order[all++] = i;
            if (r == rank)
                mine[n++] = i;
        }
    return n;
}

static void fill_batch(const training *t, int64_t n, const int64_t *mine, const int64_t *order,
                       int step, int64_t *ids, uint8_t *negatives)
{
    for (int64_t k = 0; k < t->captions; k++)
        for (int64_t i = 0; i < n; i++)
            for (int64_t w = 0; w < WORDS; w++)
                ids[(k * n + i) * WORDS + w] = 5 + (mine[i] * 3 + k * 11 + w * w + step) % 17;
    for (int64_t k = 0; k < t->captions; k++)
        for (int64_t i = 0; i < B; i++)
            for (int64_t j = 0; j < B; j++)
                negatives[(k * B + i) * B + j] = (order[i] * 5 + order[j] * 3 + k) % 4 != 0;
}

static mcs_status train_step(const training *t, mcs_comm *c, mcs_ctx *ctx, mcs_biomedclip *m,
                             int step, double *loss, mcs_error *e)
{
    int64_t mine[B], order[B], ids[SETS_MAX * B * WORDS];
    uint8_t negatives[SETS_MAX * B * B];
    int64_t n = deal(t, mcs_comm_rank(c), mcs_comm_size(c), mine, order);
    fill_batch(t, n, mine, order, step, ids, negatives);
    supply_args s = { mine, mcs_comm_rank(c) == t->failing };
    mcs_clip_batch b = { .size = n,
                         .captions = t->captions,
                         .length = WORDS,
                         .ids = ids,
                         .negatives = t->masked ? negatives : NULL,
                         .images = supply,
                         .images_arg = &s };
    mcs_clip_step_opts o = { .loss = mcs_contrastive_defaults(t->kind),
                             .learn_scale = t->learn_scale,
                             .micro = t->micro,
                             .comm = c };
    o.loss.temperature = 0.2f;
    mcs_params_zero_grad(mcs_biomedclip_params(m));
    mcs_status status = mcs_clip_step(ctx, m, &b, &o, loss);
    if (status)
        return mcs_error_set(e, status, "%s", mcs_ctx_message(ctx));
    return mcs_params_sum_grads(mcs_biomedclip_params(m), c, e);
}

static float *flatten(mcs_params *p, int64_t *n)
{
    float *all = malloc((size_t)mcs_params_numel(p) * sizeof *all);
    *n = 0;
    for (int64_t i = 0; i < mcs_params_count(p); i++) {
        const mcs_tensor *x = mcs_params_at(p, i).tensor;
        memcpy(all + *n, x->data, (size_t)mcs_numel(x) * sizeof *all);
        *n += mcs_numel(x);
    }
    return all;
}

static void train(mcs_comm *c, void *arg)
{
    training *run_of = arg;
    notes *t = &run_of->notes;
    mcs_error e = { MCS_OK, "" };
    int rank = mcs_comm_rank(c);
    mcs_biomedclip *m = mcs_biomedclip_load("tests/golden/clip_tiny.safetensors",
                                            "tests/golden/tokens_vocab.txt", &e);
    mcs_params *p = mcs_biomedclip_params(m);
    mcs_ctx *ctx = mcs_ctx_new(NULL);
    if (rank) /* rank 0's weights count */
        mcs_f32(mcs_params_find(p, "text.proj.0.weight"))[3] += 1;
    EXPECT(!mcs_params_broadcast(p, c, &e), "broadcast: %s", e.message);
    EXPECT(!mcs_params_train(p, "", true), "train");
    mcs_optim *optim = mcs_sgd_new(p, &(mcs_sgd_opts){ .momentum = 0.9f });
    for (int step = 0; step < STEPS && !t->status[rank]; step++) {
        t->status[rank] = train_step(run_of, c, ctx, m, step, &run_of->loss[rank][step], &e);
        if (!t->status[rank]) {
            mcs_grad_clip(p, NULL, 1.0);
            EXPECT(!mcs_optim_step(optim, NULL, 0.05, &e), "%s", e.message);
        }
    }
    if (t->status[rank])
        snprintf(t->wrong[rank], sizeof t->wrong[rank], "%s", e.message);
    int64_t numel;
    run_of->weights[rank] = flatten(p, &numel);
    if (!rank)
        run_of->numel = numel;
    mcs_optim_free(optim);
    mcs_ctx_free(ctx);
    mcs_biomedclip_free(m);
}

static void release(training *t)
{
    for (int r = 0; r < RANKS_MAX; r++) {
        free(t->weights[r]);
        t->weights[r] = NULL;
    }
}

static double distance(const float *a, const float *b, int64_t n)
{
    double d = 0, s = 0;
    for (int64_t i = 0; i < n; i++) {
        d += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
        s += (double)b[i] * (double)b[i];
    }
    return sqrt(d / s);
}

static void compare(const char *what, const training *many, const training *one, int ranks)
{
    for (int r = 0; r < ranks; r++) {
        for (int k = 0; k < STEPS; k++)
            if (!(fabs(many->loss[r][k] - one->loss[0][k]) <= 1e-5 * fabs(one->loss[0][k])))
                fail_msg("%s: %d ranks, rank %d, step %d: loss %.9g, one process %.9g", what, ranks,
                         r, k, many->loss[r][k], one->loss[0][k]);
        assert_memory_equal(many->weights[r], many->weights[0], (size_t)one->numel * sizeof(float));
    }
    double d = distance(many->weights[0], one->weights[0], one->numel);
    if (!(d <= 1e-5))
        fail_msg("%s: %d ranks: weights differ by %g", what, ranks, d);
}

static void test_ranks_equal_one(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        training t;
    } cases[] = {
        { "DHN-NCE", { .kind = MCS_LOSS_DHN_NCE, .captions = 1 } },
        { "in parts", { .kind = MCS_LOSS_DHN_NCE, .captions = 1, .micro = 2 } },
        { "scale", { .kind = MCS_LOSS_INFONCE, .captions = 1, .learn_scale = true } },
        { "masks", { .kind = MCS_LOSS_HN_NCE, .captions = 2, .masked = true, .micro = 1 } },
        { "a rank without pairs",
          { .kind = MCS_LOSS_DCL, .captions = 2, .masked = true, .one_empty = true } },
        { "official", { .kind = MCS_LOSS_DHN_NCE_OFFICIAL, .captions = 1, .learn_scale = true } },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        training one = cases[i].t;
        one.failing = -1;
        train(NULL, &one);
        assert_string_equal(one.notes.wrong[0], "");
        for (int ranks = 2; ranks <= 4; ranks += 2) {
            training many = cases[i].t;
            many.failing = -1;
            run_ranks(ranks, train, &many.notes);
            compare(cases[i].what, &many, &one, ranks);
            release(&many);
        }
        release(&one);
    }
}

static void test_same_bits_each_time(void **state)
{
    (void)state;
    training a = { .kind = MCS_LOSS_DHN_NCE, .captions = 1, .failing = -1 }, b = a;
    run_ranks(3, train, &a.notes);
    run_ranks(3, train, &b.notes);
    assert_memory_equal(a.weights[0], b.weights[0], (size_t)a.numel * sizeof(float));
    release(&a);
    release(&b);
}

static void test_one_fails_all_stop(void **state)
{
    (void)state;
    mcs_error e = { MCS_OK, "" };
    training t = { .kind = MCS_LOSS_DHN_NCE, .captions = 1, .failing = 1 };
    assert_int_equal(mcs_comm_threads(3, train, &t, &e), MCS_OK);
    for (int r = 0; r < 3; r++) {
        assert_int_equal(t.notes.status[r], MCS_EIO);
        assert_string_equal(t.notes.wrong[r],
                            r == 1 ? "no picture here" : "rank 1: no picture here");
    }
    release(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ranks_equal_one),
        cmocka_unit_test(test_same_bits_each_time),
        cmocka_unit_test(test_one_fails_all_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
