/* pickle_globals.c - the Python names a weights file may mention, and what they mean here.
 *
 * The list is closed.  It holds what torch.save() needs to write a state dict, its wrappers
 * (Parameter, Size, OrderedDict) and the harmless values that training scripts put beside it.
 * Argument orders: torch/_utils.py (_rebuild_*), torch/serialization.py (persistent ids). */
#include <string.h>
#include "weights/pickle_internal.h"

typedef enum {
    G_DICT, /* () or (pairs) or (dictionary): a dictionary */
    G_SIZE, /* (tuple): the tuple */
    G_OPAQUE, /* anything: an opaque value */
    G_TYPE, /* only mentioned, never called */
    G_STORAGE, /* the type of a storage */
    G_UNTYPED, /* a storage whose type is the tensor's */
    G_DTYPE,
    G_TENSOR1, /* storage, offset, shape, stride */
    G_TENSOR2, /* and requires_grad, hooks[, metadata] */
    G_TENSOR3, /* and requires_grad, hooks, dtype[, metadata] */
    G_PARAMETER, /* tensor, ... */
    G_SUBCLASS /* function, type, arguments, state */
} global_kind;

static const struct {
    const char *name;
    global_kind kind;
    int dtype;
} globals[] = {
    { "collections.OrderedDict", G_DICT, 0 },
    { "collections.Counter", G_DICT, 0 },
    { "torch.Size", G_SIZE, 0 },
    { "torch.device", G_OPAQUE, 0 },
    { "_codecs.encode", G_OPAQUE, 0 },
    { "builtins.set", G_OPAQUE, 0 },
    { "__builtin__.set", G_OPAQUE, 0 },
    { "builtins.complex", G_OPAQUE, 0 },
    { "__builtin__.complex", G_OPAQUE, 0 },
    { "builtins.bytearray", G_OPAQUE, 0 },
    { "__builtin__.bytearray", G_OPAQUE, 0 },
    { "torch.serialization._get_layout", G_OPAQUE, 0 },
    { "torch.Tensor", G_TYPE, 0 },
    { "torch._tensor.Tensor", G_TYPE, 0 },
    { "torch.nn.parameter.Parameter", G_TYPE, 0 },
    { "torch.nn.Parameter", G_TYPE, 0 },
    { "torch._utils._rebuild_tensor", G_TENSOR1, 0 },
    { "torch._utils._rebuild_tensor_v2", G_TENSOR2, 0 },
    { "torch._utils._rebuild_tensor_v3", G_TENSOR3, 0 },
    { "torch._utils._rebuild_parameter", G_PARAMETER, 0 },
    { "torch._utils._rebuild_parameter_with_state", G_PARAMETER, 0 },
    { "torch._tensor._rebuild_from_type_v2", G_SUBCLASS, 0 },
    { "torch.storage.UntypedStorage", G_UNTYPED, 0 },
    { "torch.DoubleStorage", G_STORAGE, MCS_ST_F64 },
    { "torch.FloatStorage", G_STORAGE, MCS_ST_F32 },
    { "torch.HalfStorage", G_STORAGE, MCS_ST_F16 },
    { "torch.BFloat16Storage", G_STORAGE, MCS_ST_BF16 },
    { "torch.LongStorage", G_STORAGE, MCS_ST_I64 },
    { "torch.IntStorage", G_STORAGE, MCS_ST_I32 },
    { "torch.ShortStorage", G_STORAGE, MCS_ST_I16 },
    { "torch.CharStorage", G_STORAGE, MCS_ST_I8 },
    { "torch.ByteStorage", G_STORAGE, MCS_ST_U8 },
    { "torch.BoolStorage", G_STORAGE, MCS_ST_BOOL },
    { "torch.cuda.DoubleStorage", G_STORAGE, MCS_ST_F64 },
    { "torch.cuda.FloatStorage", G_STORAGE, MCS_ST_F32 },
    { "torch.cuda.HalfStorage", G_STORAGE, MCS_ST_F16 },
    { "torch.cuda.LongStorage", G_STORAGE, MCS_ST_I64 },
    { "torch.float64", G_DTYPE, MCS_ST_F64 },
    { "torch.float32", G_DTYPE, MCS_ST_F32 },
    { "torch.float16", G_DTYPE, MCS_ST_F16 },
    { "torch.bfloat16", G_DTYPE, MCS_ST_BF16 },
    { "torch.int64", G_DTYPE, MCS_ST_I64 },
    { "torch.int32", G_DTYPE, MCS_ST_I32 },
    { "torch.int16", G_DTYPE, MCS_ST_I16 },
    { "torch.int8", G_DTYPE, MCS_ST_I8 },
    { "torch.uint8", G_DTYPE, MCS_ST_U8 },
    { "torch.bool", G_DTYPE, MCS_ST_BOOL },
    { "torch.uint64", G_DTYPE, MCS_ST_U64 },
    { "torch.uint32", G_DTYPE, MCS_ST_U32 },
    { "torch.uint16", G_DTYPE, MCS_ST_U16 },
    { "torch.float8_e4m3fn", G_DTYPE, MCS_ST_F8_E4M3 },
    { "torch.float8_e5m2", G_DTYPE, MCS_ST_F8_E5M2 },
};
enum { GLOBALS = sizeof globals / sizeof globals[0] };
_Static_assert(GLOBALS <= 128, "mcs_pickle.imports has a bit for each");

const char *mcs_pickle_global_name(int i)
{
    return i < GLOBALS ? globals[i].name : NULL;
}

static mcs_status unknown_global(mcs_pickle *p, const char *module, size_t m, const char *name,
                                 size_t n)
{
    char a[128], b[128];
    mcs_quote(a, sizeof a, module, m);
    mcs_quote(b, sizeof b, name, n);
    if (strncmp(a, "torch", 5) == 0)
        return mcs_pickle_fail(p,
                               "would import %s.%s, which is not on the list of names for "
                               "dense tensors; in Python save model.state_dict() with plain "
                               "float tensors",
                               a, b);
    return mcs_pickle_fail(p,
                           "would import %s.%s; a weights file holds tensors, dictionaries and "
                           "numbers only.  If you trust the file, in Python: "
                           "torch.save(model.state_dict(), ...)",
                           a, b);
}

mcs_status mcs_pickle_global(mcs_pickle *p, const char *module, size_t m, const char *name,
                             size_t n, mcs_pickle_value *out)
{
    for (uint32_t g = 0; g < GLOBALS; g++) {
        const char *s = globals[g].name, *dot = strrchr(s, '.');
        if ((size_t)(dot - s) == m && strlen(dot + 1) == n && memcmp(s, module, m) == 0 &&
            memcmp(dot + 1, name, n) == 0) {
            p->imports[g / 64] |= (uint64_t)1 << g % 64;
            *out = (mcs_pickle_value){ .kind = PV_GLOBAL, .n = g };
            return MCS_OK;
        }
    }
    return unknown_global(p, module, m, name, n);
}

/* ---- Storages ---- */

/* ("storage", type, key, location, numel) and, in files before 1.6, view metadata: None or
 * (key of the view, offset, numel). */
static mcs_status storage_view(mcs_pickle *p, mcs_pickle_value v, mcs_pickle_storage *s)
{
    if (v.kind == PV_NONE)
        return MCS_OK;
    if (v.kind != PV_TUPLE || p->objects.at[v.n].count != 3 || s->untyped)
        return mcs_pickle_fail(p, "the storage's view is not a tuple of 3");
    const mcs_pickle_value *a = p->objects.at[v.n].items;
    if (a[1].kind != PV_INT || a[2].kind != PV_INT || a[1].u.i < 0 || a[2].u.i < 0 ||
        a[1].u.i > s->numel || a[2].u.i > s->numel - a[1].u.i)
        return mcs_pickle_fail(p, "the storage's view lies outside it");
    s->view_offset = a[1].u.i;
    s->view_numel = a[2].u.i;
    return MCS_OK;
}

mcs_status mcs_pickle_persistent(mcs_pickle *p, mcs_pickle_value id, mcs_pickle_value *out)
{
    if (id.kind != PV_TUPLE)
        return mcs_pickle_fail(p, "the persistent id is not a tuple");
    const mcs_pickle_object *o = &p->objects.at[id.n];
    const mcs_pickle_value *a = o->items;
    if ((o->count != 5 && o->count != 6) || !mcs_pickle_is_text(a[0], "storage") ||
        a[1].kind != PV_GLOBAL || a[2].kind != PV_TEXT || a[4].kind != PV_INT)
        return mcs_pickle_fail(p, "the persistent id is not "
                                  "('storage', type, key, location, count)");
    global_kind kind = globals[a[1].n].kind;
    if (kind != G_STORAGE && kind != G_UNTYPED)
        return mcs_pickle_fail(p, "%s is not a type of storage", globals[a[1].n].name);
    mcs_pickle_storage s = { .key = a[2].u.text,
                             .key_bytes = a[2].n,
                             .numel = a[4].u.i,
                             .untyped = kind == G_UNTYPED,
                             .view_numel = -1,
                             .blob = -1,
                             .dtype = kind == G_UNTYPED ? MCS_ST_U8
                                                        : (mcs_stored_dtype)globals[a[1].n].dtype };
    if (s.numel < 0 ||
        !mcs_mul_u64((uint64_t)s.numel, (uint64_t)mcs_stored_size(s.dtype), &s.bytes) ||
        s.bytes > INT64_MAX)
        return mcs_pickle_fail(p, "a storage of %lld elements", (long long)s.numel);
    mcs_status st = o->count == 6 ? storage_view(p, a[5], &s) : MCS_OK;
    if (st != MCS_OK)
        return st;
    if (p->storages.count >= MCS_TENSORS_MAX)
        return mcs_pickle_fail(p, "more than %d storages", MCS_TENSORS_MAX);
    if (!MCS_PICKLE_ROOM(p->storages))
        return mcs_pickle_nomem(p);
    p->storages.at[p->storages.count] = s;
    *out = (mcs_pickle_value){ .kind = PV_STORAGE, .n = p->storages.count++ };
    return MCS_OK;
}

/* ---- Tensors ---- */

static mcs_status tuple_of_ints(mcs_pickle *p, mcs_pickle_value v, const char *what, int64_t *out,
                                int64_t *n)
{
    if (v.kind != PV_TUPLE)
        return mcs_pickle_fail(p, "the tensor's %s is not a tuple", what);
    const mcs_pickle_object *o = &p->objects.at[v.n];
    if (o->count > MCS_FILE_DIMS)
        return mcs_pickle_fail(p, "a tensor of %u dimensions; the limit is %d", o->count,
                               MCS_FILE_DIMS);
    for (uint32_t i = 0; i < o->count; i++) {
        if (o->items[i].kind != PV_INT || o->items[i].u.i < 0)
            return mcs_pickle_fail(p, "the tensor's %s must be integers >= 0", what);
        out[i] = o->items[i].u.i;
    }
    *n = o->count;
    return MCS_OK;
}

static mcs_status rebuild_tensor(mcs_pickle *p, global_kind kind, const mcs_pickle_object *args,
                                 mcs_pickle_value *out)
{
    const mcs_pickle_value *a = args->items;
    uint32_t low = kind == G_TENSOR1 ? 4 : kind == G_TENSOR2 ? 6 : 7;
    uint32_t high = kind == G_TENSOR1 ? 4 : low + 1;
    int64_t strides;
    mcs_pickle_tensor t = { 0 };
    if (args->count < low || args->count > high || a[0].kind != PV_STORAGE || a[1].kind != PV_INT ||
        a[1].u.i < 0)
        return mcs_pickle_fail(p, "a tensor is rebuilt from (storage, offset >= 0, shape, "
                                  "stride, ...)");
    mcs_status s = tuple_of_ints(p, a[2], "shape", t.shape, &t.ndim);
    if (s == MCS_OK)
        s = tuple_of_ints(p, a[3], "stride", t.stride, &strides);
    if (s != MCS_OK)
        return s;
    if (strides != t.ndim)
        return mcs_pickle_fail(p, "the tensor has %lld dimensions and %lld strides",
                               (long long)t.ndim, (long long)strides);
    const mcs_pickle_storage *st = &p->storages.at[a[0].n];
    t.storage = a[0].n;
    t.offset = a[1].u.i;
    t.dtype = st->dtype;
    if (kind == G_TENSOR3) {
        if (a[6].kind != PV_GLOBAL || globals[a[6].n].kind != G_DTYPE)
            return mcs_pickle_fail(p, "the tensor's type is not a dtype");
        t.dtype = (mcs_stored_dtype)globals[a[6].n].dtype;
    }
    if (st->untyped != (kind == G_TENSOR3))
        return mcs_pickle_fail(p, "the type of the tensor is given twice, or not at all");
    if (p->tensors.count >= MCS_TENSORS_MAX)
        return mcs_pickle_fail(p, "more than %d tensors", MCS_TENSORS_MAX);
    if (!MCS_PICKLE_ROOM(p->tensors))
        return mcs_pickle_nomem(p);
    p->tensors.at[p->tensors.count] = t;
    *out = (mcs_pickle_value){ .kind = PV_TENSOR, .n = p->tensors.count++ };
    return MCS_OK;
}

/* ---- Calls ---- */

/* OrderedDict(), OrderedDict([[k, v], ...]) as Python 2 wrote it, Counter({...}). */
static mcs_status make_dict(mcs_pickle *p, const mcs_pickle_object *args, mcs_pickle_value *out)
{
    mcs_pickle_value from = args->count ? args->items[0] : (mcs_pickle_value){ 0 };
    mcs_status s = mcs_pickle_object_new(p, PV_DICT, NULL, 0, out); /* args is stale from here */
    if (s != MCS_OK || from.kind == PV_NONE)
        return s;
    if (from.kind != PV_DICT && from.kind != PV_LIST)
        return mcs_pickle_fail(p, "a dictionary is made of nothing, pairs or a dictionary");
    uint32_t n = p->objects.at[from.n].count;
    if (from.kind == PV_DICT)
        return mcs_pickle_extend(p, out->n, p->objects.at[from.n].items, n);
    for (uint32_t i = 0; i < n && s == MCS_OK; i++) {
        mcs_pickle_value pair = p->objects.at[from.n].items[i];
        if ((pair.kind != PV_LIST && pair.kind != PV_TUPLE) || p->objects.at[pair.n].count != 2)
            return mcs_pickle_fail(p, "a dictionary is made of something that is not a pair");
        s = mcs_pickle_extend(p, out->n, p->objects.at[pair.n].items, 2);
    }
    return s;
}

/* (function, type, arguments, state): a Parameter or Tensor with attributes, which are dropped. */
static mcs_status unwrap_subclass(mcs_pickle *p, mcs_pickle_value *fn, mcs_pickle_value *args)
{
    const mcs_pickle_object *o = &p->objects.at[args->n];
    if (o->count != 4 || o->items[0].kind != PV_GLOBAL || o->items[2].kind != PV_TUPLE ||
        o->items[1].kind != PV_GLOBAL || globals[o->items[1].n].kind != G_TYPE ||
        globals[o->items[0].n].kind < G_TENSOR1 || globals[o->items[0].n].kind > G_PARAMETER)
        return mcs_pickle_fail(p, "a tensor of a class other than Tensor or Parameter");
    *fn = o->items[0];
    *args = o->items[2];
    return MCS_OK;
}

mcs_status mcs_pickle_call(mcs_pickle *p, mcs_pickle_value fn, mcs_pickle_value args,
                           mcs_pickle_value *out)
{
    if (fn.kind != PV_GLOBAL || args.kind != PV_TUPLE)
        return mcs_pickle_fail(p, "a call of something that is not a listed name with a tuple");
    if (globals[fn.n].kind == G_SUBCLASS && unwrap_subclass(p, &fn, &args) != MCS_OK)
        return MCS_EFORMAT;
    const mcs_pickle_object *o = &p->objects.at[args.n];
    global_kind kind = globals[fn.n].kind;
    *out = (mcs_pickle_value){ .kind = PV_OPAQUE };
    switch (kind) {
    case G_OPAQUE:
        return MCS_OK;
    case G_DICT:
        return make_dict(p, o, out);
    case G_SIZE:
        if (o->count != 1 || (o->items[0].kind != PV_TUPLE && o->items[0].kind != PV_LIST))
            return mcs_pickle_fail(p, "torch.Size of something that is not one tuple");
        *out = (mcs_pickle_value){ .kind = PV_TUPLE, .n = o->items[0].n };
        return MCS_OK;
    case G_TENSOR1:
    case G_TENSOR2:
    case G_TENSOR3:
        return rebuild_tensor(p, kind, o, out);
    case G_PARAMETER:
        if (o->count < 1 || o->items[0].kind != PV_TENSOR)
            return mcs_pickle_fail(p, "a Parameter of something that is not a tensor");
        *out = o->items[0];
        return MCS_OK;
    default:
        return mcs_pickle_fail(p, "%s is not called in weights files", globals[fn.n].name);
    }
}
