/* params.c - the parameter store: names, shapes, data, gradients.
 *
 * A layer declares its weights through a namespace, so a name, its shape and its initialisation
 * stand once, in the layer's _init.  Declaring touches no data: loading a checkpoint never
 * costs the memory twice.  The order of declaration is the order of everything. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "nn/params_internal.h"

mcs_params *mcs_params_new(void) { return calloc(1, sizeof(mcs_params)); }

void mcs_params_free(mcs_params *p)
{
    if (!p)
        return;
    for (int64_t i = 0; i < p->count; i++) {
        free(p->slots[i]->tensor.data);
        free(p->slots[i]->node.grad);
        free(p->slots[i]);
    }
    while (p->blocks) {
        mcs_block *next = p->blocks->next;
        free(p->blocks);
        p->blocks = next;
    }
    free(p->slots);
    free(p->index);
    free(p);
}

mcs_status mcs_params_status(const mcs_params *p) { return p->error.status; }
const char *mcs_params_message(const mcs_params *p) { return p->error.message; }
mcs_error *mcs_params_error(mcs_params *p) { return &p->error; }
int64_t mcs_params_count(const mcs_params *p) { return p->count; }

mcs_param_entry mcs_params_at(const mcs_params *p, int64_t i)
{
    mcs_param_slot *s = p->slots[i];
    return (mcs_param_entry){ s->name, &s->tensor, s->buffer };
}

int64_t mcs_params_numel(const mcs_params *p)
{
    int64_t n = 0;
    for (int64_t i = 0; i < p->count; i++)
        n += mcs_numel(&p->slots[i]->tensor);
    return n;
}

/* ---- memory that lives as long as the store ---- */

static void *store_alloc(mcs_params *p, size_t bytes)
{
    if (p->error.status != MCS_OK)
        return NULL;
    mcs_block *b = calloc(1, sizeof *b + bytes + 16);
    if (!b) {
        mcs_error_set(&p->error, MCS_ENOMEM, "parameters: out of memory (%zu bytes)", bytes);
        return NULL;
    }
    b->next = p->blocks;
    p->blocks = b;
    return (char *)b + (sizeof *b + 15) / 16 * 16;
}

void *mcs_module(mcs_ns ns, size_t bytes) { return store_alloc(ns.params, bytes); }

/* ---- names ---- */

uint64_t mcs_name_hash(const char *name)        /* FNV-1a */
{
    uint64_t h = 0xcbf29ce484222325u;
    for (; *name; name++)
        h = (h ^ (unsigned char)*name) * 0x100000001b3u;
    return h;
}

static int64_t index_slot(const mcs_params *p, const char *name)
{
    int64_t i = (int64_t)(mcs_name_hash(name) & (uint64_t)(p->index_size - 1));
    while (p->index[i] && strcmp(p->slots[p->index[i] - 1]->name, name) != 0)
        i = (i + 1) & (p->index_size - 1);
    return i;
}

static mcs_param_slot *find_slot(const mcs_params *p, const char *name)
{
    int32_t at = p->index_size ? p->index[index_slot(p, name)] : 0;
    return at ? p->slots[at - 1] : NULL;
}

mcs_tensor *mcs_params_find(const mcs_params *p, const char *name)
{
    mcs_param_slot *s = find_slot(p, name);
    return s ? &s->tensor : NULL;
}

static bool grow(mcs_params *p)
{
    int64_t capacity = p->capacity ? 2 * p->capacity : 128, size = 2 * capacity;
    mcs_param_slot **slots = realloc(p->slots, (size_t)capacity * sizeof *slots);
    if (slots)
        p->slots = slots;
    int32_t *index = slots ? calloc((size_t)size, sizeof *index) : NULL;
    if (!index) {
        mcs_error_set(&p->error, MCS_ENOMEM, "parameters: out of memory (%lld names)",
                      (long long)capacity);
        return false;
    }
    free(p->index);
    p->index = index;
    p->index_size = size;
    p->capacity = capacity;
    for (int64_t i = 0; i < p->count; i++)
        p->index[index_slot(p, p->slots[i]->name)] = (int32_t)i + 1;
    return true;
}

mcs_ns mcs_root(mcs_params *p) { return (mcs_ns){ p, "" }; }

const char *mcs_ns_name(mcs_ns ns, const char *leaf)
{
    size_t n = strlen(ns.path), m = strlen(leaf);
    char *name = store_alloc(ns.params, n + m + 2);
    if (!name)
        return "";
    memcpy(name, ns.path, n);
    if (n && m)
        name[n++] = '.';
    memcpy(name + n, leaf, m + 1);
    return name;
}

mcs_ns mcs_ns_sub(mcs_ns ns, const char *fmt, ...)
{
    char leaf[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(leaf, sizeof leaf, fmt, ap);
    va_end(ap);
    return (mcs_ns){ ns.params, mcs_ns_name(ns, leaf) };
}

static mcs_tensor *declare(mcs_ns ns, const char *leaf, mcs_init init, int ndim,
                           const int64_t *shape, bool buffer)
{
    mcs_params *p = ns.params;
    const char *name = mcs_ns_name(ns, leaf);
    if (p->error.status != MCS_OK || (p->count == p->capacity && !grow(p)))
        return NULL;
    if (find_slot(p, name)) {
        mcs_error_set(&p->error, MCS_EINVAL, "parameters: %s is declared twice", name);
        return NULL;
    }
    mcs_param_slot *s = calloc(1, sizeof *s);
    if (!s) {
        mcs_error_set(&p->error, MCS_ENOMEM, "parameters: out of memory at %s", name);
        return NULL;
    }
    s->name = name;
    s->init = init;
    s->buffer = buffer;
    s->tensor.dtype = MCS_F32;
    s->tensor.ndim = ndim;
    for (int i = 0; i < ndim; i++)
        s->tensor.shape[i] = shape[i];
    s->node.out = &s->tensor;
    s->node.keep_grad = true;
    p->slots[p->count] = s;
    p->index[index_slot(p, name)] = (int32_t)++p->count;
    return &s->tensor;
}

mcs_tensor *mcs_param(mcs_ns ns, const char *leaf, mcs_init init, int ndim, const int64_t *shape)
{
    return declare(ns, leaf, init, ndim, shape, false);
}

mcs_tensor *mcs_buffer(mcs_ns ns, const char *leaf, mcs_init init, int ndim, const int64_t *shape)
{
    return declare(ns, leaf, init, ndim, shape, true);
}

/* ---- data and gradients ---- */

static float *aligned_floats(int64_t n)
{
    size_t bytes = ((size_t)n * sizeof(float) + 63) / 64 * 64;
    return aligned_alloc(64, bytes ? bytes : 64);
}

float *mcs_params_data(mcs_params *p, int64_t i)
{
    mcs_param_slot *s = p->slots[i];
    if (!s->tensor.data)
        s->tensor.data = aligned_floats(mcs_numel(&s->tensor));
    if (!s->tensor.data)
        mcs_error_set(&p->error, MCS_ENOMEM, "parameters: out of memory for %s", s->name);
    return s->tensor.data;
}

void mcs_params_adopt(mcs_params *p, int64_t i, float *data)
{
    mcs_tensor *x = &p->slots[i]->tensor;
    if (x->data) {
        memcpy(x->data, data, (size_t)mcs_numel(x) * sizeof(float));
        free(data);
    } else {
        x->data = data;
    }
}

void mcs_params_touch(mcs_params *p) { (void)p; }   /* f32 products cache nothing */

mcs_status mcs_params_init(mcs_params *p, uint64_t seed)
{
    for (int64_t i = 0; i < p->count && p->error.status == MCS_OK; i++) {
        mcs_param_slot *s = p->slots[i];
        if (!s->tensor.data && mcs_params_data(p, i))
            mcs_init_fill(&s->tensor, s->init, seed, s->name,
                          i > 0 ? &p->slots[i - 1]->tensor : NULL);
    }
    return p->error.status;
}

static bool has_prefix(const char *name, const char *prefix)
{
    return strncmp(name, prefix, strlen(prefix)) == 0;
}

void mcs_params_reinit(mcs_params *p, const char *prefix, mcs_init from, mcs_init to)
{
    for (int64_t i = 0; i < p->count; i++)
        if (p->slots[i]->init == from && has_prefix(p->slots[i]->name, prefix))
            p->slots[i]->init = to;
}

static mcs_status set_trained(mcs_params *p, mcs_param_slot *s, bool on)
{
    if (on && !s->node.grad) {
        s->node.grad = aligned_floats(mcs_numel(&s->tensor));
        if (!s->node.grad)
            return mcs_error_set(&p->error, MCS_ENOMEM, "parameters: no memory for the gradient "
                                                        "of %s", s->name);
        memset(s->node.grad, 0, (size_t)mcs_numel(&s->tensor) * sizeof(float));
    }
    if (!on) {
        free(s->node.grad);
        s->node.grad = NULL;
    }
    s->tensor.node = on ? &s->node : NULL;
    return MCS_OK;
}

mcs_status mcs_params_train(mcs_params *p, const char *prefix, bool on)
{
    int64_t found = 0;
    for (int64_t i = 0; i < p->count && p->error.status == MCS_OK; i++) {
        mcs_param_slot *s = p->slots[i];
        if (!has_prefix(s->name, prefix))
            continue;
        found++;
        if (!s->buffer && set_trained(p, s, on) != MCS_OK)
            return p->error.status;
    }
    if (!found)
        return mcs_error_set(&p->error, MCS_ENOTFOUND, "parameters: no name begins with \"%s\"",
                             prefix);
    return p->error.status;
}

void mcs_params_zero_grad(mcs_params *p)
{
    for (int64_t i = 0; i < p->count; i++)
        if (p->slots[i]->node.grad)
            memset(p->slots[i]->node.grad, 0,
                   (size_t)mcs_numel(&p->slots[i]->tensor) * sizeof(float));
}
