/* pickle_tree.c - from the recorded tree of dictionaries to named tensors.
 *
 * A walk with a stack of its own (no recursion), at most 64 deep and 4 M steps in all: a small
 * file can describe a list of lists of lists ... of the same list, whose tree is astronomically
 * large.  Keys on the way are joined by '.', as torch does for nested modules; elements of lists
 * and tuples are numbered; everything but tensors is passed over. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "weights/pickle_internal.h"

typedef struct {
    uint32_t object, next; /* next item to look at */
    uint32_t name_bytes; /* of the path down to this object */
    bool dict;
} frame;

typedef struct {
    mcs_pickle *p;
    frame frames[MCS_PICKLE_DEPTH_MAX];
    int depth;
    char name[MCS_NAME_MAX + 1];
    uint32_t name_bytes;
    uint32_t steps;
} walk;

static mcs_status record(walk *w, const mcs_pickle_tensor *t)
{
    mcs_pickle *p = w->p;
    const mcs_pickle_storage *s = &p->storages.at[t->storage];
    uint64_t size = (uint64_t)mcs_stored_size(t->dtype), first, begin;
    const char *name = w->name_bytes ? w->name : "tensor"; /* torch.save(one tensor) */
    size_t n = w->name_bytes ? w->name_bytes : strlen(name);
    /* offsets of a legacy view count from the view's start */
    if (!mcs_add_u64((uint64_t)t->offset, (uint64_t)s->view_offset, &first) ||
        !mcs_mul_u64(first, size, &begin))
        return mcs_pickle_fail(p, "the offset of a tensor overflows");
    return mcs_checkpoint_add(p->k, name, n, t->dtype, t->ndim, t->shape, t->stride, s->blob, begin,
                              p->e);
}

/* Appends ".key" or ".3" to the path. */
static mcs_status path_push(walk *w, mcs_pickle_value key)
{
    char number[24];
    const char *s = number;
    size_t n;
    if (key.kind == PV_TEXT) {
        s = key.u.text;
        n = key.n;
    } else if (key.kind == PV_INT) {
        n = (size_t)snprintf(number, sizeof number, "%" PRId64, key.u.i);
    } else {
        s = "?";
        n = 1;
    }
    bool dot = w->name_bytes > 0;
    if (n > MCS_NAME_MAX - w->name_bytes - dot)
        return mcs_pickle_fail(w->p, "a name of more than %d bytes", MCS_NAME_MAX);
    if (dot)
        w->name[w->name_bytes++] = '.';
    memcpy(w->name + w->name_bytes, s, n);
    w->name_bytes += (uint32_t)n;
    return MCS_OK;
}

static mcs_status visit(walk *w, mcs_pickle_value v)
{
    mcs_pickle *p = w->p;
    if (v.kind == PV_TENSOR)
        return record(w, &p->tensors.at[v.n]);
    if (v.kind != PV_TUPLE && v.kind != PV_LIST && v.kind != PV_DICT)
        return MCS_OK;
    if (p->objects.at[v.n].on_path)
        return mcs_pickle_fail(p, "a container holds itself");
    if (w->depth == MCS_PICKLE_DEPTH_MAX)
        return mcs_pickle_fail(p, "containers are nested more than %d deep", MCS_PICKLE_DEPTH_MAX);
    p->objects.at[v.n].on_path = true;
    w->frames[w->depth++] =
        (frame){ .object = v.n, .name_bytes = w->name_bytes, .dict = v.kind == PV_DICT };
    return MCS_OK;
}

/* One item of the innermost container, or the end of it. */
static mcs_status walk_step(walk *w)
{
    mcs_pickle *p = w->p;
    frame *f = &w->frames[w->depth - 1];
    const mcs_pickle_object *o = &p->objects.at[f->object];
    w->name_bytes = f->name_bytes;
    if (f->next >= o->count) {
        p->objects.at[f->object].on_path = false;
        w->depth--;
        return MCS_OK;
    }
    mcs_pickle_value key = { .kind = PV_INT, .u.i = f->next }, v = o->items[f->next];
    f->next += f->dict ? 2 : 1;
    if (f->dict) {
        key = v;
        v = o->items[f->next - 1];
    }
    if (++w->steps > MCS_PICKLE_ITEMS_MAX)
        return mcs_pickle_fail(p, "the same objects are nested too often");
    if (v.kind != PV_TENSOR && v.kind != PV_TUPLE && v.kind != PV_LIST && v.kind != PV_DICT)
        return MCS_OK; /* before the name, which may be long */
    mcs_status s = path_push(w, key);
    return s == MCS_OK ? visit(w, v) : s;
}

static mcs_status record_imports(mcs_pickle *p)
{
    mcs_checkpoint *k = p->k;
    int n = 0;
    while (mcs_pickle_global_name(n))
        n++;
    k->imports = calloc((size_t)n, sizeof *k->imports);
    if (!k->imports)
        return mcs_pickle_nomem(p);
    for (int g = 0; g < n; g++)
        if (p->imports[g / 64] >> g % 64 & 1)
            k->imports[k->import_count++] = mcs_pickle_global_name(g);
    return MCS_OK;
}

mcs_status mcs_pickle_records(mcs_pickle *p)
{
    walk w;
    w.p = p;
    w.depth = 0;
    w.name_bytes = 0;
    w.steps = 0;
    p->opcode = -1;
    mcs_status s = record_imports(p);
    if (s == MCS_OK)
        s = visit(&w, p->root);
    while (s == MCS_OK && w.depth > 0)
        s = walk_step(&w);
    return s;
}
