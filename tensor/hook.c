/* hook.c - tap, watch, replace, trace.
 *
 * A module passes its output through mcs_tap() under its own path.  That is the identity unless
 * somebody asked for the name, so that maps which explain a model need to know only names. */
#include <stdlib.h>
#include <string.h>
#include "tensor/ctx_internal.h"

static mcs_status add_entry(mcs_ctx *c, const char *name, mcs_hook *fn, void *arg)
{
    if (c->hook_count == c->hook_capacity) {
        int capacity = c->hook_capacity ? 2 * c->hook_capacity : 8;
        mcs_hook_entry *grown = realloc(c->hooks, (size_t)capacity * sizeof *grown);
        if (!grown)
            goto no_memory;
        c->hooks = grown;
        c->hook_capacity = capacity;
    }
    char *copy = malloc(strlen(name) + 1);
    if (!copy)
        goto no_memory;
    strcpy(copy, name);
    c->hooks[c->hook_count++] = (mcs_hook_entry){ copy, fn, arg, NULL };
    return MCS_OK;
no_memory:
    mcs_fail(c, MCS_ENOMEM, "out of memory: hook on %s", name);
    return MCS_ENOMEM;
}

mcs_status mcs_watch(mcs_ctx *c, const char *name) { return add_entry(c, name, NULL, NULL); }

mcs_status mcs_hook_add(mcs_ctx *c, const char *name, mcs_hook *fn, void *arg)
{
    return add_entry(c, name, fn, arg);
}

/* A copy outside the arena, so that no scope frees it. */
static mcs_tensor *pin(mcs_ctx *c, const mcs_tensor *x)
{
    size_t bytes = (size_t)mcs_numel(x) * sizeof(float);
    size_t head = (sizeof(mcs_pinned) + sizeof(mcs_tensor) + 63) / 64 * 64;
    mcs_pinned *p = aligned_alloc(64, head + (bytes + 63) / 64 * 64);
    if (!p)
        return mcs_fail(c, MCS_ENOMEM, "out of memory: %zu bytes for a watched tensor", bytes);
    mcs_tensor *t = (mcs_tensor *)(p + 1);
    *t = *x;
    t->data = (char *)p + head;
    memcpy(t->data, x->data, bytes);
    p->next = c->pinned;
    c->pinned = p;
    return t;
}

/* With grad on the tensor itself is kept: as a leaf if nothing was recorded before it, so that a
 * map's tape begins at the watched layer. */
static mcs_tensor *see(mcs_ctx *c, mcs_hook_entry *h, mcs_tensor *x)
{
    if (!c->grad) {
        h->seen = pin(c, x);
        return h->seen ? x : NULL;
    }
    if (!x->node)
        x = mcs_leaf(c, x);
    if (x)
        x->node->keep_grad = true;
    h->seen = x;
    return x;
}

mcs_tensor *mcs_tap(mcs_ctx *c, const char *name, mcs_tensor *x)
{
    if (!x || c->error.status != MCS_OK)
        return NULL;
    for (int i = 0; i < c->hook_count && x; i++) {
        mcs_hook_entry *h = &c->hooks[i];
        if (strcmp(h->name, name) != 0)
            continue;
        x = h->fn ? h->fn(c, name, x, h->arg) : see(c, h, x);
    }
    if (x && c->trace)
        c->trace(name, x, c->trace_arg);
    return x;
}

mcs_tensor *mcs_watched(const mcs_ctx *c, const char *name)
{
    for (int i = 0; i < c->hook_count; i++)
        if (!c->hooks[i].fn && strcmp(c->hooks[i].name, name) == 0)
            return c->hooks[i].seen;
    return NULL;
}

bool mcs_hooked(const mcs_ctx *c, const char *name)
{
    if (c->trace)
        return true;
    for (int i = 0; i < c->hook_count; i++)
        if (strcmp(c->hooks[i].name, name) == 0)
            return true;
    return false;
}

void mcs_trace(mcs_ctx *c, void (*fn)(const char *name, const mcs_tensor *x, void *arg), void *arg)
{
    c->trace = fn;
    c->trace_arg = arg;
}

void mcs_hooks_reset(mcs_ctx *c)
{
    for (int i = 0; i < c->hook_count; i++)
        c->hooks[i].seen = NULL;
    while (c->pinned) {
        mcs_pinned *next = c->pinned->next;
        free(c->pinned);
        c->pinned = next;
    }
}

void mcs_hook_clear(mcs_ctx *c)
{
    for (int i = 0; i < c->hook_count; i++)
        free(c->hooks[i].name);
    c->hook_count = 0;
}
