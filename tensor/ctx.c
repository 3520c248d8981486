/* ctx.c - contexts: lifetime, settings, the sticky error, scopes. */
#include <stdlib.h>
#include <string.h>
#include "tensor/ctx_internal.h"
#include "tensor/vec.h"

mcs_ctx *mcs_ctx_new(const mcs_ctx_opts *opts)
{
    mcs_ctx *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    mcs_ctx_opts o = opts ? *opts : (mcs_ctx_opts){ 0 };
    mcs_arena_init(&c->work, o.bytes_max);
    mcs_arena_init(&c->grads, o.bytes_max);
    c->pool = o.pool;
    c->vec = mcs_vec_get();
    c->precision = o.precision;
    c->grad = o.grad;
    c->training = o.training;
    c->recompute_share = 1;
    mcs_ctx_seed(c, o.seed, 0);
    mcs_blas_single();
    return c;
}

mcs_ctx *mcs_ctx_new_like(const mcs_ctx *c)
{
    size_t most = c->work.bytes_max, used = c->work.bytes_total + c->grads.bytes_total;
    size_t left = most == 0 ? 0 : most > used ? most - used : 1;
    return mcs_ctx_new(&(mcs_ctx_opts){ c->pool, c->seed, left, c->precision, c->grad, c->training });
}

void mcs_ctx_free(mcs_ctx *c)
{
    if (!c)
        return;
    mcs_hook_clear(c);
    mcs_ctx_reset(c); /* what arenas lent each other goes back */
    mcs_arena_free(&c->work);
    mcs_arena_free(&c->grads);
    free(c->hooks);
    free(c->tape);
    free(c->free_grads);
    free(c);
}

void mcs_ctx_reset(mcs_ctx *c)
{
    mcs_hooks_reset(c);
    mcs_arena_release(&c->work, (mcs_arena_mark){ 0, 0 });
    mcs_arena_release(&c->grads, (mcs_arena_mark){ 0, 0 });
    mcs_arena_give_back(&c->grads, &c->work);
    c->tape_count = 0;
    c->free_count = 0;
    c->recompute_seen = 0;
    c->error.status = MCS_OK;
    c->error.message[0] = '\0';
}

mcs_status mcs_ctx_status(const mcs_ctx *c) { return c->error.status; }
const char *mcs_ctx_message(const mcs_ctx *c) { return c->error.message; }
mcs_error *mcs_ctx_error(mcs_ctx *c) { return &c->error; }
mcs_pool *mcs_ctx_pool(const mcs_ctx *c) { return c->pool; }
bool mcs_ctx_training(const mcs_ctx *c) { return c->training; }
const mcs_vec *mcs_ctx_vec(const mcs_ctx *c) { return c->vec; }
bool mcs_grad_enabled(const mcs_ctx *c) { return c->grad; }

size_t mcs_ctx_peak(const mcs_ctx *c) { return c->work.bytes_peak + c->grads.bytes_peak; }

bool mcs_set_training(mcs_ctx *c, bool on)
{
    bool old = c->training;
    c->training = on;
    return old;
}

bool mcs_set_grad(mcs_ctx *c, bool on)
{
    bool old = c->grad;
    c->grad = on;
    return old;
}

void mcs_ctx_seed(mcs_ctx *c, uint64_t seed, uint64_t stream)
{
    c->seed = seed;
    c->stream = stream;
    c->op_counter = 0;
}

mcs_tensor *mcs_fail(mcs_ctx *c, mcs_status s, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    mcs_error_vset(&c->error, s, fmt, ap);
    va_end(ap);
    return NULL;
}

void *mcs_alloc(mcs_ctx *c, size_t bytes)
{
    if (c->error.status != MCS_OK)
        return NULL;
    void *p = mcs_arena_alloc(&c->work, bytes);
    if (!p)
        mcs_fail(c, MCS_ENOMEM, "out of memory: %zu bytes wanted, %zu in use%s", bytes,
                 c->work.bytes_total, c->work.bytes_max ? " (limit reached)" : "");
    return p;
}

mcs_scope mcs_scope_begin(mcs_ctx *c)
{
    mcs_arena_mark m = mcs_arena_now(&c->work);
    return (mcs_scope){ m.chunk, m.used, c->tape_count };
}

/* The kept value slides down to where the scope began.  Its values are moved before its header
 * is written: the header's new place may lie on the values' old one. */
mcs_tensor *mcs_scope_end(mcs_ctx *c, mcs_scope s, mcs_tensor *keep)
{
    mcs_arena_mark m = { s.chunk, s.used };
    if (c->tape_count != s.recorded)
        return keep;
    if (!keep || !mcs_arena_since(&c->work, m, keep)) {
        if (!keep)
            mcs_arena_release(&c->work, m);
        return keep;
    }
    mcs_tensor head = *keep;
    bool moves = mcs_arena_since(&c->work, m, head.data);
    size_t elem = head.dtype == MCS_F32 ? 4 : head.dtype == MCS_I64 ? 8 : 1;
    size_t bytes = (size_t)mcs_numel(&head) * elem;
    const void *source = head.data;
    mcs_arena_release(&c->work, m);
    if (moves) {
        head.data = mcs_alloc(c, bytes);
        if (!head.data)
            return NULL;
        mcs_arena_rescue(head.data, source, bytes);
    }
    mcs_tensor *kept = mcs_alloc(c, sizeof *kept);
    if (kept)
        *kept = head;
    return kept;
}
