/* pickle_core.c - what the pickle machine is made of: objects, growing lists, messages. */
#include <stdlib.h>
#include <string.h>
#include "weights/pickle_internal.h"

/* clang-format off */
static const char *const opcode_names[256] = {
    ['('] = "MARK",       ['.'] = "STOP",        ['0'] = "POP",         ['1'] = "POP_MARK",
    ['2'] = "DUP",        ['F'] = "FLOAT",       ['I'] = "INT",         ['J'] = "BININT",
    ['K'] = "BININT1",    ['L'] = "LONG",        ['M'] = "BININT2",     ['N'] = "NONE",
    ['P'] = "PERSID",     ['Q'] = "BINPERSID",   ['R'] = "REDUCE",      ['S'] = "STRING",
    ['T'] = "BINSTRING",  ['V'] = "UNICODE",     ['X'] = "BINUNICODE",  ['U'] = "SHORT_BINSTRING",
    ['a'] = "APPEND",     ['b'] = "BUILD",       ['c'] = "GLOBAL",      ['d'] = "DICT",
    ['}'] = "EMPTY_DICT", ['e'] = "APPENDS",     ['g'] = "GET",         ['h'] = "BINGET",
    ['i'] = "INST",       ['j'] = "LONG_BINGET", ['l'] = "LIST",        [']'] = "EMPTY_LIST",
    ['o'] = "OBJ",        ['p'] = "PUT",         ['q'] = "BINPUT",      ['r'] = "LONG_BINPUT",
    ['s'] = "SETITEM",    ['t'] = "TUPLE",       [')'] = "EMPTY_TUPLE", ['u'] = "SETITEMS",
    ['G'] = "BINFLOAT",   ['B'] = "BINBYTES",    ['C'] = "SHORT_BINBYTES",
    [0x80] = "PROTO",     [0x81] = "NEWOBJ",     [0x82] = "EXT1",       [0x83] = "EXT2",
    [0x84] = "EXT4",      [0x85] = "TUPLE1",     [0x86] = "TUPLE2",     [0x87] = "TUPLE3",
    [0x88] = "NEWTRUE",   [0x89] = "NEWFALSE",   [0x8a] = "LONG1",      [0x8b] = "LONG4",
    [0x8f] = "EMPTY_SET", [0x90] = "ADDITEMS",   [0x91] = "FROZENSET",  [0x92] = "NEWOBJ_EX",
    [0x94] = "MEMOIZE",   [0x95] = "FRAME",      [0x96] = "BYTEARRAY8", [0x97] = "NEXT_BUFFER",
    [0x8c] = "SHORT_BINUNICODE", [0x8d] = "BINUNICODE8", [0x8e] = "BINBYTES8",
    [0x93] = "STACK_GLOBAL", [0x98] = "READONLY_BUFFER",
};
/* clang-format on */

mcs_status mcs_pickle_fail(mcs_pickle *p, const char *fmt, ...)
{
    char what[400];
    const char *name = p->opcode >= 0 ? opcode_names[p->opcode] : NULL;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    if (p->opcode < 0)
        return mcs_error_set(p->e, MCS_EFORMAT, "%s: pickle: %s", p->k->source.path, what);
    return mcs_error_set(p->e, MCS_EFORMAT, "%s: pickle, byte %llu: opcode %s (0x%02x): %s",
                         p->k->source.path,
                         (unsigned long long)(p->base + (uint64_t)(p->opcode_at - p->begin)),
                         name ? name : "unknown", (unsigned)p->opcode, what);
}

mcs_status mcs_pickle_nomem(mcs_pickle *p)
{
    return mcs_error_set(p->e, MCS_ENOMEM, "%s: out of memory", p->k->source.path);
}

void *mcs_pickle_grown(void *at, uint32_t *capacity, uint32_t count, size_t size)
{
    if (count < *capacity)
        return at;
    uint32_t c = *capacity ? *capacity * 2 : 32;
    void *grown = realloc(at, (size_t)c * size);
    if (grown)
        *capacity = c;
    return grown;
}

/* ---- Objects ---- */

mcs_status mcs_pickle_extend(mcs_pickle *p, uint32_t object, const mcs_pickle_value *items,
                             uint32_t n)
{
    mcs_pickle_object *o = &p->objects.at[object];
    if (n > MCS_PICKLE_ITEMS_MAX - p->items)
        return mcs_pickle_fail(p, "more than %d values in lists and dictionaries",
                               MCS_PICKLE_ITEMS_MAX);
    p->items += n;
    if (n > o->capacity - o->count) {
        uint32_t c = o->count + n > 2 * o->capacity ? o->count + n : 2 * o->capacity;
        mcs_pickle_value *grown = realloc(o->items, (size_t)c * sizeof *grown);
        if (!grown)
            return mcs_pickle_nomem(p);
        o->items = grown;
        o->capacity = c;
    }
    if (n > 0)
        memcpy(o->items + o->count, items, (size_t)n * sizeof *items);
    o->count += n;
    return MCS_OK;
}

mcs_status mcs_pickle_object_new(mcs_pickle *p, mcs_pickle_kind kind, const mcs_pickle_value *items,
                                 uint32_t n, mcs_pickle_value *out)
{
    if (p->objects.count >= MCS_PICKLE_OBJECTS_MAX)
        return mcs_pickle_fail(p, "more than %d objects", MCS_PICKLE_OBJECTS_MAX);
    if (!MCS_PICKLE_ROOM(p->objects))
        return mcs_pickle_nomem(p);
    p->objects.at[p->objects.count] = (mcs_pickle_object){ 0 };
    *out = (mcs_pickle_value){ .kind = kind, .n = p->objects.count++ };
    return mcs_pickle_extend(p, out->n, items, n);
}

bool mcs_pickle_is_text(mcs_pickle_value v, const char *s)
{
    return v.kind == PV_TEXT && v.n == strlen(s) && memcmp(v.u.text, s, v.n) == 0;
}

/* ---- Arguments in the stream ---- */

mcs_status mcs_pickle_take(mcs_pickle *p, uint64_t n, const uint8_t **out)
{
    if (n > (uint64_t)(p->end - p->p))
        return mcs_pickle_fail(p, "%llu bytes wanted, %llu left", (unsigned long long)n,
                               (unsigned long long)(p->end - p->p));
    *out = p->p;
    p->p += n;
    return MCS_OK;
}

mcs_status mcs_pickle_number(mcs_pickle *p, int bytes, uint64_t *out)
{
    const uint8_t *b = NULL;
    mcs_status s = mcs_pickle_take(p, (uint64_t)bytes, &b);
    *out = 0;
    for (int i = 0; s == MCS_OK && i < bytes; i++)
        *out |= (uint64_t)b[i] << 8 * i;
    return s;
}

void mcs_pickle_free(mcs_pickle *p)
{
    for (uint32_t i = 0; i < p->objects.count; i++)
        free(p->objects.at[i].items);
    free(p->stack.at);
    free(p->memo.at);
    free(p->marks.at);
    free(p->objects.at);
    free(p->storages.at);
    free(p->tensors.at);
}
