/* test_recompute.c - blocks that are run again in backward: the same bits, less memory, random
 * masks, frozen and nested blocks, hooks, little memory; the towers of CLIP and SAM. */
#include <stdlib.h>
#include <string.h>
#include "models/sam.h"
#include "tensor/op.h"
#include "tests/train_tiny.h"

enum { ROWS = 96, WIDTH = 64, DEPTH = 8 };

typedef struct {
    mcs_tensor *x, *w[DEPTH], *b[DEPTH];
} net;

typedef struct {
    const mcs_tensor *w, *b;
    int *calls; /* Nullable */
    float drop;
} block_args;

static mcs_tensor *block(mcs_ctx *c, const void *arg, const mcs_tensor *x)
{
    const block_args *a = arg;
    mcs_scope s = mcs_scope_begin(c);
    if (a->calls)
        ++*a->calls;
    mcs_tensor *h = mcs_linear_gelu(c, mcs_layer_norm(c, x, NULL, NULL, 1e-5f), a->w, a->b);
    h = mcs_mul(c, mcs_dropout(c, h, a->drop), x); /* x is used three times */
    return mcs_scope_end(c, s, mcs_add(c, h, x));
}

static mcs_tensor *two_blocks(mcs_ctx *c, const void *arg, const mcs_tensor *x)
{
    x = mcs_recompute(c, block, arg, sizeof(block_args), x);
    return mcs_recompute(c, block, arg, sizeof(block_args), x);
}

static mcs_ctx *new_ctx(bool recompute)
{
    mcs_ctx *c = mcs_ctx_new(&(mcs_ctx_opts){ .grad = true, .training = true, .seed = 5 });
    assert_false(mcs_set_recompute(c, recompute));
    return c;
}

static mcs_tensor *maybe_leaf(mcs_ctx *c, bool leaf, mcs_tensor *x)
{
    return leaf ? mcs_leaf(c, x) : x;
}

/* Weights of block i have gradients if bit i of `trained` is set, x if bit DEPTH is. */
static net make_net(mcs_ctx *c, unsigned trained)
{
    net n = { maybe_leaf(c, trained >> DEPTH & 1,
                         check_random(c, 1, -1, 1, 2, MCS_SHAPE(ROWS, WIDTH))),
              { NULL },
              { NULL } };
    for (int i = 0; i < DEPTH; i++) {
        bool leaf = trained >> i & 1;
        n.w[i] = maybe_leaf(
            c, leaf, check_random(c, 10 + (uint64_t)i, -.2f, .2f, 2, MCS_SHAPE(WIDTH, WIDTH)));
        n.b[i] = maybe_leaf(c, leaf, check_random(c, 30 + (uint64_t)i, -1, 1, 1, MCS_SHAPE(WIDTH)));
    }
    return n;
}

/* A random mask before, in and after the blocks; the last use of x comes after them all. */
static mcs_tensor *run_net(mcs_ctx *c, const net *n, mcs_recomputed *fn, int *calls)
{
    mcs_ctx_seed(c, 5, 9);
    mcs_tensor *x = mcs_dropout(c, n->x, 0.1f);
    for (int i = 0; i < DEPTH; i++) {
        block_args a = { n->w[i], n->b[i], calls, 0.25f };
        x = mcs_recompute(c, fn, &a, sizeof a, x);
    }
    x = mcs_add(c, mcs_dropout(c, x, 0.5f), n->x);
    return mcs_sum(c, mcs_mul(c, x, x));
}

/* All gradients one after the other; mcs_backward()'s memory in *peak. */
static float *net_gradients(bool recompute, unsigned trained, mcs_recomputed *fn, int rounds,
                            size_t *count, size_t *peak)
{
    mcs_ctx *c = new_ctx(recompute);
    net n = make_net(c, trained);
    mcs_tensor *y = run_net(c, &n, fn, NULL);
    check_ok(c);
    float *all = calloc(2 * DEPTH * (WIDTH + 1) * WIDTH + ROWS * WIDTH + 1, sizeof *all);
    all[0] = mcs_f32(y)[0];
    *count = 1;
    for (int i = 0; i < rounds; i++) /* the second adds */
        assert_int_equal(mcs_backward(c, y, NULL), MCS_OK);
    const mcs_tensor *leaves[2 * DEPTH + 1] = { n.x };
    for (int i = 0; i < DEPTH; i++)
        leaves[2 * i + 1] = n.w[i], leaves[2 * i + 2] = n.b[i];
    for (int i = 0; i < 2 * DEPTH + 1; i++) {
        const mcs_tensor *g = mcs_grad(c, leaves[i]);
        assert_int_equal(g != NULL, leaves[i]->node != NULL);
        for (int64_t k = 0; g && k < mcs_numel(g); k++)
            all[(*count)++] = mcs_f32(g)[k];
    }
    *peak = mcs_ctx_peak(c);
    mcs_ctx_free(c);
    return all;
}

static void compare_nets(unsigned trained, mcs_recomputed *fn)
{
    size_t n, m, plain_peak, peak;
    float *a = net_gradients(false, trained, fn, 2, &n, &plain_peak);
    float *b = net_gradients(true, trained, fn, 2, &m, &peak);
    assert_int_equal(n, m);
    assert_memory_equal(a, b, n * sizeof *a);
    if (trained & 1)
        assert_true(peak < plain_peak - 3 * ROWS * WIDTH * sizeof(float) * DEPTH);
    free(a);
    free(b);
}

static void test_same_bits(void **state)
{
    (void)state;
    compare_nets((2u << DEPTH) - 1, block);
    compare_nets((2u << DEPTH) - 1, two_blocks); /* blocks in blocks */
    compare_nets((1u << DEPTH) - 1, block); /* x is a constant */
    compare_nets(1u << DEPTH, block); /* only x is none */
    compare_nets(0xf0, block); /* four frozen blocks first */
    compare_nets(1, block); /* frozen ones later, which pass the gradient on */
}

static void test_runs_again_only_if_wanted(void **state)
{
    (void)state;
    const unsigned trained[4] = { 0xff, 0xf0, 0, 0xff };
    const int again[4] = { DEPTH, 4, 0, DEPTH };
    for (int i = 0; i < 4; i++) {
        mcs_ctx *c = new_ctx(true);
        net n = make_net(c, trained[i]);
        if (!trained[i])
            n.x = mcs_leaf(c, n.x); /* reaches the result beside the blocks */
        int calls = 0;
        block_args a = { n.w[0], n.b[0], &calls, 0 };
        if (i == 3)
            mcs_set_grad(c, false);
        mcs_tensor *y = i == 2 ? mcs_recompute(c, block, &a, sizeof a, mcs_detach(c, n.x))
                               : run_net(c, &n, block, &calls);
        check_ok(c);
        assert_int_equal(calls, i == 2 ? 1 : DEPTH);
        calls = 0;
        if (i == 2 || i == 3)
            assert_null(y->node);
        else
            assert_int_equal(mcs_backward(c, y, NULL), MCS_OK);
        if (i < 2)
            assert_int_equal(calls, again[i]);
        mcs_ctx_free(c);
    }
}

/* The stream goes on where it was, and backward does not move it. */
static void test_stream_is_kept(void **state)
{
    (void)state;
    float after[2];
    for (int on = 0; on < 2; on++) {
        mcs_ctx *c = new_ctx(on);
        net n = make_net(c, 0x1ff);
        mcs_tensor *y = run_net(c, &n, block, NULL);
        assert_int_equal(mcs_backward(c, y, NULL), MCS_OK);
        assert_true(mcs_grad_enabled(c) && mcs_ctx_training(c));
        after[on] = mcs_f32(mcs_sum(c, mcs_dropout(c, n.x, 0.5f)))[0];
        mcs_ctx_free(c);
    }
    assert_true(after[0] == after[1]);
}

static void test_settings_at_backward_do_not_matter(void **state)
{
    (void)state;
    mcs_ctx *c = new_ctx(true);
    net n = make_net(c, 0x1ff);
    mcs_tensor *y = run_net(c, &n, block, NULL);
    mcs_set_training(c, false);
    mcs_set_grad(c, false);
    mcs_ctx_seed(c, 77, 7);
    assert_int_equal(mcs_backward(c, y, NULL), MCS_OK);
    assert_false(mcs_grad_enabled(c) || mcs_ctx_training(c));
    size_t count, peak;
    float *want = net_gradients(false, 0x1ff, block, 1, &count, &peak);
    assert_memory_equal(mcs_grad(c, n.x)->data, want + 1, ROWS * WIDTH * sizeof *want);
    free(want);
    mcs_ctx_free(c);
}

static mcs_tensor *tapped(mcs_ctx *c, const void *arg, const mcs_tensor *x)
{
    return mcs_affine(c, mcs_tap(c, arg, mcs_mul(c, x, x)), 3, 0);
}

static void test_hooks(void **state)
{
    (void)state;
    mcs_ctx *c = new_ctx(true);
    mcs_tensor *x = mcs_leaf(c, mcs_full(c, 1, MCS_SHAPE(2), 5));
    mcs_tensor *y = mcs_sum(c, mcs_recompute(c, tapped, "square", 7, x));
    assert_int_equal(mcs_watch(c, "square"), MCS_OK); /* of the next forward */
    assert_int_equal(mcs_backward(c, y, NULL), MCS_OK);
    assert_true(mcs_f32(mcs_grad(c, x))[1] == 30);
    assert_null(mcs_watched(c, "square"));
    y = mcs_sum(c, mcs_recompute(c, tapped, "square", 7, x));
    assert_int_equal(mcs_backward(c, y, NULL), MCS_OK);
    assert_true(mcs_f32(mcs_watched(c, "square"))[1] == 25);
    assert_true(mcs_f32(mcs_grad(c, mcs_watched(c, "square")))[0] == 3);
    mcs_ctx_free(c);
}

static mcs_tensor *same(mcs_ctx *c, const void *arg, const mcs_tensor *x)
{
    (void)c;
    (void)arg;
    return (mcs_tensor *)x;
}

static mcs_tensor *refuses(mcs_ctx *c, const void *arg, const mcs_tensor *x)
{
    (void)arg;
    (void)x;
    return mcs_fail(c, MCS_EINVAL, "block: no");
}

static void test_edges(void **state)
{
    (void)state;
    mcs_ctx *c = new_ctx(true);
    mcs_tensor *x = mcs_leaf(c, mcs_full(c, 1, MCS_SHAPE(2), 5));
    assert_ptr_equal(mcs_recompute(c, same, NULL, 0, x), x);
    assert_null(mcs_recompute(c, same, NULL, 0, NULL));
    check_fails(c, mcs_recompute(c, refuses, NULL, 0, x), MCS_EINVAL, "block: no");
    mcs_ctx_free(c);
}

static mcs_tensor *limited(mcs_ctx *c, mcs_tensor **in)
{
    block_args a = { in[1], in[2], NULL, 0 };
    mcs_set_recompute(c, true);
    mcs_tensor *y = mcs_recompute(c, block, &a, sizeof a, in[0]);
    return mcs_recompute(c, two_blocks, &a, sizeof a, y);
}

static void test_little_memory(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_tensor *in[] = { check_random(c, 1, -1, 1, 2, MCS_SHAPE(ROWS, WIDTH)),
                         check_random(c, 2, -.2f, .2f, 2, MCS_SHAPE(WIDTH, WIDTH)),
                         check_random(c, 3, -1, 1, 1, MCS_SHAPE(WIDTH)) };
    check_limits(limited, 3, in);
    check_threads(limited, 3, in);
    mcs_ctx_free(c);
}

/* ---- Models ---- */

static float *all_gradients(mcs_ctx *c, const mcs_params *p, int64_t *count)
{
    float *all = malloc((size_t)mcs_params_numel(p) * sizeof *all);
    *count = 0;
    for (int64_t i = 0; i < mcs_params_count(p); i++) {
        const mcs_tensor *g = mcs_grad(c, mcs_params_at(p, i).tensor);
        if (g)
            memcpy(all + *count, g->data, (size_t)mcs_numel(g) * sizeof *all);
        *count += g ? mcs_numel(g) : 0;
    }
    return all;
}

static float *clip_gradients(float share, const mcs_clip_lock *lock, int64_t micro, double *loss,
                             int64_t *count, size_t *peak)
{
    mcs_error e = { MCS_OK, "" };
    bench t = begin();
    mcs_clip_step_opts o = dhn(micro);
    int64_t *ids = roll(t.ids, 0);
    t.batch.ids = ids;
    t.batch.images_arg = &t.pictures;
    assert_int_equal(mcs_clip_train_lock(t.m, lock, &e), MCS_OK);
    mcs_set_recompute(t.c, share > 0);
    mcs_set_recompute_share(t.c, share);
    assert_int_equal(mcs_clip_step(t.c, t.m, &t.batch, &o, loss), MCS_OK);
    float *all = all_gradients(t.c, t.p, count);
    *peak = mcs_ctx_peak(t.c);
    free(ids);
    end(&t);
    return all;
}

static void test_clip(void **state)
{
    (void)state;
    const mcs_clip_lock locks[] = {
        { .scale = true },
        { .image = true, .image_groups = 1, .text = true, .text_layers = 1, .scale = true },
    };
    const float shares[] = { 0, 0.5f, 1 };
    for (int i = 0; i < 4; i++) {
        double loss[3];
        int64_t n[3], micro = i / 2 ? 4 : 0;
        size_t peak[3];
        float *g[3];
        for (int k = 0; k < 3; k++)
            g[k] = clip_gradients(shares[k], &locks[i % 2], micro, &loss[k], &n[k], &peak[k]);
        for (int k = 1; k < 3; k++) {
            assert_true(loss[0] == loss[k] && n[0] == n[k] && n[0] > 0);
            assert_memory_equal(g[0], g[k], (size_t)n[0] * sizeof *g[0]);
        }
        if (i % 2 == 0)
            assert_true(peak[2] < peak[0]);
        if (i == 0) /* of two blocks one is run again */
            assert_true(peak[2] < peak[1] && peak[1] < peak[0]);
        for (int k = 0; k < 3; k++)
            free(g[k]);
    }
}

static float *sam_gradients(bool recompute, bool input, int64_t *count, size_t *peak)
{
    mcs_error e = { MCS_OK, "" };
    mcs_sam *m = mcs_sam_load("tests/golden/sam_tiny.safetensors", &e);
    if (!m)
        fail_msg("%s", e.message);
    mcs_params *p = mcs_sam_params(m);
    assert_int_equal(mcs_params_train(p, "image_encoder.", true), MCS_OK);
    mcs_ctx *c = check_ctx();
    mcs_set_recompute(c, recompute);
    int64_t side = mcs_sam_get_config(m)->image;
    mcs_tensor *x = check_random(c, 3, -1, 1, 4, MCS_SHAPE(2, 3, side, side));
    x = maybe_leaf(c, input, x);
    mcs_tensor *y = mcs_sam_encode(c, m, x);
    assert_int_equal(mcs_backward(c, y, check_random(c, 4, -1, 1, 4, y->shape)), MCS_OK);
    float *all = all_gradients(c, p, count);
    *peak = mcs_ctx_peak(c);
    mcs_ctx_free(c);
    mcs_sam_free(m);
    return all;
}

static void test_sam(void **state)
{
    (void)state;
    for (int input = 0; input < 2; input++) {
        int64_t n[2];
        size_t peak[2];
        float *a = sam_gradients(false, input, &n[0], &peak[0]);
        float *b = sam_gradients(true, input, &n[1], &peak[1]);
        assert_true(n[0] == n[1] && n[0] > 0);
        assert_memory_equal(a, b, (size_t)n[0] * sizeof *a);
        assert_true(peak[1] < peak[0]);
        free(a);
        free(b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_bits),
        cmocka_unit_test(test_runs_again_only_if_wanted),
        cmocka_unit_test(test_stream_is_kept),
        cmocka_unit_test(test_settings_at_backward_do_not_matter),
        cmocka_unit_test(test_hooks),
        cmocka_unit_test(test_edges),
        cmocka_unit_test(test_little_memory),
        cmocka_unit_test(test_clip),
        cmocka_unit_test(test_sam),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
