/* lattice_table.c - the set of lattice vertices: open addressing at half load.  A slot holds the
 * upper half of the hash beside the number, so that a search for an absent key, the common case
 * among neighbours, ends in the slots without reading keys. */
#include <stdlib.h>
#include "cam/permutohedral_internal.h"

static uint64_t key_hash(lattice_key k)
{
    uint64_t h = (k.w[0] ^ (k.w[1] * UINT64_C(0x9E3779B97F4A7C15))) * UINT64_C(0xD6E8FEB86659FD93);
    h = (h ^ (h >> 32)) * UINT64_C(0xD6E8FEB86659FD93);
    return h ^ (h >> 29);
}

static bool table_resize(lattice_table *t, int64_t limit)
{
    uint64_t n = 64;
    while (n < 2 * (uint64_t)limit)
        n *= 2;
    lattice_key *keys = realloc(t->keys, (size_t)(n / 2) * sizeof *keys);
    if (keys)
        t->keys = keys;
    uint64_t *slots = calloc((size_t)n, sizeof *slots);
    if (!keys || !slots) {
        free(slots);
        return false;
    }
    for (int64_t i = 0; i < t->count; i++) {
        uint64_t h = key_hash(keys[i]), s = h & (n - 1);
        while (slots[s])
            s = (s + 1) & (n - 1);
        slots[s] = (h & ~UINT64_C(0xffffffff)) | (uint64_t)(i + 1);
    }
    free(t->slots);
    t->slots = slots;
    t->limit = (int64_t)(n / 2);
    t->mask = n - 1;
    return true;
}

bool mcs_lattice_table_init(lattice_table *t, int64_t limit)
{
    *t = (lattice_table){ 0 };
    return table_resize(t, limit);
}

void mcs_lattice_table_free(lattice_table *t)
{
    free(t->keys);
    free(t->slots);
    *t = (lattice_table){ 0 };
}

/* The slot of k, or the empty one where it belongs. */
static uint64_t table_slot(const lattice_table *t, lattice_key k, uint64_t h)
{
    uint64_t s = h & t->mask;
    for (; t->slots[s]; s = (s + 1) & t->mask) {
        if ((t->slots[s] ^ h) >> 32)
            continue;
        const lattice_key *q = &t->keys[(t->slots[s] & 0xffffffff) - 1];
        if (q->w[0] == k.w[0] && q->w[1] == k.w[1])
            break;
    }
    return s;
}

uint32_t mcs_lattice_table_find(const lattice_table *t, lattice_key k)
{
    return (uint32_t)t->slots[table_slot(t, k, key_hash(k))];
}

uint32_t mcs_lattice_table_insert(lattice_table *t, lattice_key k)
{
    uint64_t h = key_hash(k), s = table_slot(t, k, h);
    if (t->slots[s])
        return (uint32_t)t->slots[s];
    if (t->count == t->limit) {
        if (t->count >= INT32_MAX / 2 || !table_resize(t, 2 * t->limit))
            return 0;
        s = table_slot(t, k, h);
    }
    t->keys[t->count++] = k;
    t->slots[s] = (h & ~UINT64_C(0xffffffff)) | (uint64_t)t->count;
    return (uint32_t)t->count;
}
