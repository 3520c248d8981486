/* pickle.c - the instructions of the pickle machine (pickle_internal.h).
 *
 * Instructions: those that Python 2 and 3 write for protocols 2 to 5 when torch.save() pickles
 * dictionaries, lists, tuples, numbers, strings and tensors (Python: Lib/pickletools.py has the
 * meaning of each).  Refused: INST, OBJ, NEWOBJ, NEWOBJ_EX, EXT1-4, PERSID and the text forms
 * of protocol 0, which PyTorch never writes. */
#include <string.h>
#include "weights/pickle_internal.h"

/* ---- Stack ---- */

static mcs_status push(mcs_pickle *p, mcs_pickle_value v)
{
    if (p->stack.count >= MCS_PICKLE_STACK_MAX)
        return mcs_pickle_fail(p, "more than %d values on the stack", MCS_PICKLE_STACK_MAX);
    if (!MCS_PICKLE_ROOM(p->stack))
        return mcs_pickle_nomem(p);
    p->stack.at[p->stack.count++] = v;
    return MCS_OK;
}

static mcs_status push_kind(mcs_pickle *p, mcs_pickle_kind kind, int64_t i)
{
    return push(p, (mcs_pickle_value){ .kind = kind, .u.i = i });
}

/* Values above the last mark, or all: instructions may not reach below a mark. */
static uint32_t above_mark(const mcs_pickle *p)
{
    return p->stack.count - (p->marks.count ? p->marks.at[p->marks.count - 1] : 0);
}

static mcs_status need(mcs_pickle *p, uint32_t n)
{
    return above_mark(p) >= n ? MCS_OK : mcs_pickle_fail(p, "stack underflow");
}

/* The n values above the mark, which is dropped; they stay readable until the next push. */
static mcs_status pop_mark(mcs_pickle *p, const mcs_pickle_value **items, uint32_t *n)
{
    if (p->marks.count == 0)
        return mcs_pickle_fail(p, "there is no MARK");
    uint32_t at = p->marks.at[--p->marks.count];
    *n = p->stack.count - at;
    *items = p->stack.at + at; /* push() has run before any MARK matters, or n is 0 */
    p->stack.count = at;
    return MCS_OK;
}

static mcs_status push_object(mcs_pickle *p, mcs_pickle_kind kind, const mcs_pickle_value *items,
                              uint32_t n)
{
    mcs_pickle_value v;
    if (kind == PV_DICT && n % 2)
        return mcs_pickle_fail(p, "a key without a value");
    mcs_status s = mcs_pickle_object_new(p, kind, items, n, &v);
    return s == MCS_OK ? push(p, v) : s;
}

static mcs_status op_tuple(mcs_pickle *p, uint32_t n)
{
    mcs_status s = need(p, n);
    if (s != MCS_OK)
        return s;
    p->stack.count -= n;
    return push_object(p, PV_TUPLE, p->stack.at + p->stack.count, n);
}

static mcs_status op_collect(mcs_pickle *p, mcs_pickle_kind kind)
{
    const mcs_pickle_value *items = NULL;
    uint32_t n = 0;
    mcs_status s = pop_mark(p, &items, &n);
    return s == MCS_OK ? push_object(p, kind, items, n) : s;
}

/* APPEND(S) to a list, SETITEM(S) to a dictionary, and to nothing else. */
static mcs_status op_add(mcs_pickle *p, mcs_pickle_kind kind, uint32_t fixed)
{
    const mcs_pickle_value *items = NULL;
    uint32_t n = fixed;
    mcs_status s = fixed ? need(p, fixed) : pop_mark(p, &items, &n);
    if (s != MCS_OK)
        return s;
    if (fixed) {
        p->stack.count -= fixed;
        items = p->stack.at + p->stack.count;
    }
    if (above_mark(p) < 1 || p->stack.at[p->stack.count - 1].kind != kind)
        return mcs_pickle_fail(p, "not applied to a %s", kind == PV_LIST ? "list" : "dictionary");
    if (kind == PV_DICT && n % 2)
        return mcs_pickle_fail(p, "a key without a value");
    return mcs_pickle_extend(p, p->stack.at[p->stack.count - 1].n, items, n);
}

/* A set is opaque: its members are dropped. */
static mcs_status op_additems(mcs_pickle *p)
{
    const mcs_pickle_value *items = NULL;
    uint32_t n = 0;
    mcs_status s = pop_mark(p, &items, &n);
    if (s != MCS_OK)
        return s;
    if (above_mark(p) < 1 || p->stack.at[p->stack.count - 1].kind != PV_OPAQUE)
        return mcs_pickle_fail(p, "not applied to a set");
    return MCS_OK;
}

static mcs_status op_mark(mcs_pickle *p)
{
    if (p->marks.count >= MCS_PICKLE_STACK_MAX)
        return mcs_pickle_fail(p, "more than %d marks", MCS_PICKLE_STACK_MAX);
    if (!MCS_PICKLE_ROOM(p->marks) || !MCS_PICKLE_ROOM(p->stack))
        return mcs_pickle_nomem(p);
    p->marks.at[p->marks.count++] = p->stack.count;
    return MCS_OK;
}

static mcs_status op_pop(mcs_pickle *p)
{
    mcs_status s = need(p, 1);
    if (s == MCS_OK)
        p->stack.count--;
    return s;
}

/* ---- Memo: indices are given out in order, as every pickler does ---- */

static mcs_status op_put(mcs_pickle *p, uint64_t i)
{
    mcs_status s = need(p, 1);
    if (s != MCS_OK)
        return s;
    if (i > p->memo.count)
        return mcs_pickle_fail(p, "memo index %llu, the next is %u", (unsigned long long)i,
                               p->memo.count);
    if (i == p->memo.count) {
        if (!MCS_PICKLE_ROOM(p->memo))
            return mcs_pickle_nomem(p);
        p->memo.count++;
    }
    p->memo.at[i] = p->stack.at[p->stack.count - 1];
    return MCS_OK;
}

static mcs_status op_get(mcs_pickle *p, uint64_t i)
{
    if (i >= p->memo.count)
        return mcs_pickle_fail(p, "memo index %llu is not set", (unsigned long long)i);
    return push(p, p->memo.at[i]);
}

/* ---- Numbers and strings ---- */

static mcs_status op_int(mcs_pickle *p, int bytes)
{
    uint64_t v = 0;
    mcs_status s = mcs_pickle_number(p, bytes, &v);
    return s == MCS_OK ? push_kind(p, PV_INT, bytes == 4 ? (int32_t)v : (int64_t)v) : s;
}

/* LONG1, LONG4: two's complement of any length; beyond 64 bits the value is opaque. */
static mcs_status op_long(mcs_pickle *p, int prefix)
{
    uint64_t n = 0, v = 0;
    const uint8_t *b = NULL;
    mcs_status s = mcs_pickle_number(p, prefix, &n);
    if (s == MCS_OK)
        s = mcs_pickle_take(p, n, &b);
    if (s != MCS_OK || n > 8)
        return s == MCS_OK ? push_kind(p, PV_OPAQUE, 0) : s;
    for (uint64_t i = 0; i < n; i++)
        v |= (uint64_t)b[i] << 8 * i;
    if (n > 0 && n < 8 && b[n - 1] & 0x80)
        v |= UINT64_MAX << 8 * n;
    return push_kind(p, PV_INT, (int64_t)v);
}

static mcs_status op_text(mcs_pickle *p, int prefix, bool keep)
{
    uint64_t n = 0;
    const uint8_t *b = NULL;
    mcs_status s = mcs_pickle_number(p, prefix, &n);
    if (s == MCS_OK)
        s = mcs_pickle_take(p, n, &b);
    if (s != MCS_OK)
        return s;
    if (!keep)
        return push_kind(p, PV_OPAQUE, 0);
    return push(p,
                (mcs_pickle_value){ .kind = PV_TEXT, .n = (uint32_t)n, .u.text = (const char *)b });
}

static mcs_status op_skip(mcs_pickle *p, uint64_t n)
{
    const uint8_t *b = NULL;
    mcs_status s = mcs_pickle_take(p, n, &b);
    return s == MCS_OK ? push_kind(p, PV_OPAQUE, 0) : s;
}

static mcs_status op_indexed(mcs_pickle *p, int bytes, mcs_status (*fn)(mcs_pickle *, uint64_t))
{
    uint64_t i = 0;
    mcs_status s = mcs_pickle_number(p, bytes, &i);
    return s == MCS_OK ? fn(p, i) : s;
}

/* ---- Names and calls ---- */

static mcs_status take_line(mcs_pickle *p, const char **line, size_t *n)
{
    const uint8_t *nl = memchr(p->p, '\n', (size_t)(p->end - p->p));
    if (!nl)
        return mcs_pickle_fail(p, "a name without an end of line");
    *line = (const char *)p->p;
    *n = (size_t)(nl - p->p);
    p->p = nl + 1;
    return MCS_OK;
}

static mcs_status push_global(mcs_pickle *p, const char *module, size_t m, const char *name,
                              size_t n)
{
    mcs_pickle_value v;
    mcs_status s = mcs_pickle_global(p, module, m, name, n, &v);
    return s == MCS_OK ? push(p, v) : s;
}

static mcs_status op_global(mcs_pickle *p)
{
    const char *module = NULL, *name = NULL;
    size_t m = 0, n = 0;
    mcs_status s = take_line(p, &module, &m);
    if (s == MCS_OK)
        s = take_line(p, &name, &n);
    return s == MCS_OK ? push_global(p, module, m, name, n) : s;
}

static mcs_status op_stack_global(mcs_pickle *p)
{
    mcs_status s = need(p, 2);
    if (s != MCS_OK)
        return s;
    p->stack.count -= 2;
    const mcs_pickle_value *v = p->stack.at + p->stack.count;
    if (v[0].kind != PV_TEXT || v[1].kind != PV_TEXT)
        return mcs_pickle_fail(p, "module and name must be strings");
    return push_global(p, v[0].u.text, v[0].n, v[1].u.text, v[1].n);
}

static mcs_status op_reduce(mcs_pickle *p)
{
    mcs_pickle_value v;
    mcs_status s = need(p, 2);
    if (s != MCS_OK)
        return s;
    p->stack.count -= 2;
    s = mcs_pickle_call(p, p->stack.at[p->stack.count], p->stack.at[p->stack.count + 1], &v);
    return s == MCS_OK ? push(p, v) : s;
}

static mcs_status op_persistent(mcs_pickle *p)
{
    mcs_pickle_value v;
    mcs_status s = need(p, 1);
    if (s == MCS_OK)
        s = mcs_pickle_persistent(p, p->stack.at[--p->stack.count], &v);
    return s == MCS_OK ? push(p, v) : s;
}

/* state_dict() hangs a `_metadata` attribute on its OrderedDict; it is dropped. */
static mcs_status op_build(mcs_pickle *p)
{
    mcs_status s = need(p, 2);
    if (s != MCS_OK)
        return s;
    mcs_pickle_value state = p->stack.at[--p->stack.count];
    if (p->stack.at[p->stack.count - 1].kind != PV_DICT || state.kind != PV_DICT)
        return mcs_pickle_fail(p, "attributes are set on something that is not a dictionary");
    return MCS_OK;
}

static mcs_status op_proto(mcs_pickle *p)
{
    uint64_t version = 0;
    mcs_status s = mcs_pickle_number(p, 1, &version);
    if (s == MCS_OK && (p->opcode_at != p->begin || version < 2 || version > 5))
        return mcs_pickle_fail(p, "protocol %llu; 2 to 5 are known, stated once, at the start",
                               (unsigned long long)version);
    return s;
}

static mcs_status op_frame(mcs_pickle *p)
{
    uint64_t n = 0;
    mcs_status s = mcs_pickle_number(p, 8, &n);
    if (s == MCS_OK && n > (uint64_t)(p->end - p->p))
        return mcs_pickle_fail(p, "the frame ends after the file");
    return s;
}

static mcs_status op_stop(mcs_pickle *p)
{
    if (p->stack.count != 1 || p->marks.count != 0)
        return mcs_pickle_fail(p, "%u values are left on the stack, 1 expected", p->stack.count);
    p->root = p->stack.at[0];
    return MCS_OK;
}

/* clang-format off */
static mcs_status step(mcs_pickle *p)
{
    switch (p->opcode) {
    case 0x80: return op_proto(p);
    case 0x95: return op_frame(p);
    case '(': return op_mark(p);
    case '0': return op_pop(p);
    case 'N': return push_kind(p, PV_NONE, 0);
    case 0x88: return push_kind(p, PV_BOOL, 1);
    case 0x89: return push_kind(p, PV_BOOL, 0);
    case 'J': return op_int(p, 4);
    case 'K': return op_int(p, 1);
    case 'M': return op_int(p, 2);
    case 0x8a: return op_long(p, 1);
    case 0x8b: return op_long(p, 4);
    case 'G': return op_skip(p, 8);
    case 'X': return op_text(p, 4, true);
    case 'T': return op_text(p, 4, true);
    case 'U': return op_text(p, 1, true);
    case 0x8c: return op_text(p, 1, true);
    case 0x8d: return op_text(p, 8, true);
    case 'B': return op_text(p, 4, false);
    case 'C': return op_text(p, 1, false);
    case 0x8e: return op_text(p, 8, false);
    case 0x96: return op_text(p, 8, false);
    case '}': return push_object(p, PV_DICT, NULL, 0);
    case ']': return push_object(p, PV_LIST, NULL, 0);
    case ')': return push_object(p, PV_TUPLE, NULL, 0);
    case 0x8f: return push_kind(p, PV_OPAQUE, 0);
    case 0x90: return op_additems(p);
    case 't': return op_collect(p, PV_TUPLE);
    case 'l': return op_collect(p, PV_LIST);
    case 'd': return op_collect(p, PV_DICT);
    case 0x85: return op_tuple(p, 1);
    case 0x86: return op_tuple(p, 2);
    case 0x87: return op_tuple(p, 3);
    case 'a': return op_add(p, PV_LIST, 1);
    case 'e': return op_add(p, PV_LIST, 0);
    case 's': return op_add(p, PV_DICT, 2);
    case 'u': return op_add(p, PV_DICT, 0);
    case 'q': return op_indexed(p, 1, op_put);
    case 'r': return op_indexed(p, 4, op_put);
    case 0x94: return op_put(p, p->memo.count);
    case 'h': return op_indexed(p, 1, op_get);
    case 'j': return op_indexed(p, 4, op_get);
    case 'c': return op_global(p);
    case 0x93: return op_stack_global(p);
    case 'R': return op_reduce(p);
    case 'b': return op_build(p);
    case 'Q': return op_persistent(p);
    case '.': return op_stop(p);
    default: return mcs_pickle_fail(p, "not one that PyTorch writes for weights; refused");
    }
}
/* clang-format on */

mcs_status mcs_pickle_run(mcs_pickle *p, mcs_checkpoint *k, const uint8_t *bytes, size_t n,
                          uint64_t base, size_t *used, mcs_error *e)
{
    *p = (mcs_pickle){
        .k = k, .begin = bytes, .p = bytes, .end = bytes + n, .base = base, .opcode = -1, .e = e
    };
    while (p->opcode != '.') {
        if (p->p == p->end)
            return mcs_error_set(e, MCS_EFORMAT, "%s: pickle: ends without STOP: cut short",
                                 k->source.path);
        p->opcode_at = p->p;
        p->opcode = *p->p++;
        mcs_status s = step(p);
        if (s != MCS_OK)
            return s;
    }
    p->opcode = -1;
    *used = (size_t)(p->p - bytes);
    return MCS_OK;
}
