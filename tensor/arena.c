/* arena.c - bump allocation in recycled chunks.
 *
 * Chunks grow geometrically and are kept until the arena is freed: fresh memory costs a page
 * fault per 4 KB, which at tensor sizes is more than most operations.  Large chunks ask for
 * huge pages.  Under AddressSanitizer the free part of every chunk is poisoned. */
#define _DEFAULT_SOURCE /* madvise */
#include "tensor/arena_internal.h"
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define MCS_ASAN
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define MCS_ASAN
#endif
#ifdef MCS_ASAN
#include <sanitizer/asan_interface.h>
#define POISON(p, n) __asan_poison_memory_region(p, n)
#define UNPOISON(p, n) __asan_unpoison_memory_region(p, n)
#else
#define POISON(p, n) ((void)(p), (void)(n))
#define UNPOISON(p, n) ((void)(p), (void)(n))
#endif

#define ALIGN ((size_t)64)
#define HUGE_PAGE ((size_t)2 << 20)
#define PIECE ((size_t)128 << 20)            /* of a chunk that is lent */
#define CHUNK_MIN ((size_t)1 << 20)
#define CHUNK_MAX_STEP ((size_t)1 << 30)  /* growth beyond the request stops doubling here */

void mcs_arena_init(mcs_arena *a, size_t bytes_max)
{
    memset(a, 0, sizeof *a);
    a->bytes_max = bytes_max;
}

void mcs_arena_free(mcs_arena *a)
{
    for (int64_t i = 0; i < a->count; i++) {
        UNPOISON(a->chunks[i].base, a->chunks[i].size);
        free(a->chunks[i].memory);
    }
    free(a->chunks);
    mcs_arena_init(a, a->bytes_max);
}

static size_t chunk_size(const mcs_arena *a, size_t bytes)
{
    size_t step = a->bytes_total < CHUNK_MIN ? CHUNK_MIN : a->bytes_total;
    if (step > CHUNK_MAX_STEP)
        step = CHUNK_MAX_STEP;
    size_t size = bytes > step ? bytes : step;
    if (a->bytes_max && a->bytes_total + size > a->bytes_max)
        size = bytes;                   /* near the limit: no more than is needed */
    return size >= HUGE_PAGE ? (size + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE : size;
}

static bool make_room(mcs_arena *a)
{
    if (a->count < a->capacity)
        return true;
    int64_t capacity = a->capacity ? 2 * a->capacity : 16;
    mcs_chunk *grown = realloc(a->chunks, (size_t)capacity * sizeof *grown);
    if (!grown)
        return false;
    a->chunks = grown;
    a->capacity = capacity;
    return true;
}

static bool add_chunk(mcs_arena *a, size_t bytes)
{
    size_t size = chunk_size(a, bytes);
    if (a->bytes_max && (size > a->bytes_max || a->bytes_total > a->bytes_max - size))
        return false;
    if (!make_room(a))
        return false;
    char *base = aligned_alloc(size >= HUGE_PAGE ? HUGE_PAGE : ALIGN, size);
    if (!base)
        return false;
    if (size >= HUGE_PAGE)
        madvise(base, size, MADV_HUGEPAGE);     /* advice only: failure changes nothing */
    POISON(base, size);
    a->chunks[a->count++] = (mcs_chunk){ .memory = base, .base = base, .size = size };
    a->bytes_total += size;
    return true;
}

static bool move_chunk(mcs_arena *from, mcs_arena *to, int64_t i, bool borrowed)
{
    if (!make_room(to))
        return false;
    mcs_chunk k = from->chunks[i];
    k.borrowed = borrowed;
    to->chunks[to->count++] = k;
    to->bytes_total += k.size;
    from->bytes_total -= k.size;
    from->count--;
    memmove(from->chunks + i, from->chunks + i + 1, (size_t)(from->count - i) * sizeof k);
    return true;
}

/* The lower end of chunk i, `size` bytes, whose pages are more likely to be there than the upper. */
static bool move_piece(mcs_arena *from, mcs_arena *to, int64_t i, size_t size)
{
    if (!make_room(to))
        return false;
    mcs_chunk *k = &from->chunks[i];
    to->chunks[to->count++] = (mcs_chunk){ .base = k->base, .size = size, .borrowed = true };
    k->base += size;
    k->size -= size;
    to->bytes_total += size;
    from->bytes_total -= size;
    return true;
}

/* From the end of the lender, which it needs last. */
static bool borrow_chunk(mcs_arena *a, size_t bytes)
{
    mcs_arena *from = a->lender;
    size_t piece = bytes > PIECE ? (bytes + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE : PIECE;
    for (int64_t i = from ? from->count - 1 : -1; i >= 0 && i > from->current; i--) {
        if (from->chunks[i].size >= 2 * piece)
            return move_piece(from, a, i, piece);
        if (from->chunks[i].size >= bytes)
            return move_chunk(from, a, i, true);
    }
    return false;
}

void *mcs_arena_alloc(mcs_arena *a, size_t bytes)
{
    if (bytes > SIZE_MAX / 2)
        return NULL;
    size_t need = (bytes + ALIGN - 1) / ALIGN * ALIGN;
    if (need == 0)
        need = ALIGN;
    int64_t i = a->current;
    size_t before = a->bytes_before;
    while (i < a->count && a->chunks[i].size - a->chunks[i].used < need)
        before += a->chunks[i++].used;
    if (i == a->count && !borrow_chunk(a, need) && !add_chunk(a, need))
        return NULL;
    a->current = i;
    a->bytes_before = before;
    mcs_chunk *k = &a->chunks[i];
    void *p = k->base + k->used;
    k->used += need;
    UNPOISON(p, bytes);
    if (before + k->used > a->bytes_peak)
        a->bytes_peak = before + k->used;
    return p;
}

mcs_arena_mark mcs_arena_now(const mcs_arena *a)
{
    size_t used = a->count ? a->chunks[a->current].used : 0;
    return (mcs_arena_mark){ a->current, used };
}

void mcs_arena_release(mcs_arena *a, mcs_arena_mark m)
{
    if (!a->count)
        return;
    for (int64_t i = a->current; i >= m.chunk; i--) {
        mcs_chunk *k = &a->chunks[i];
        size_t keep = i == m.chunk ? m.used : 0;
        POISON(k->base + keep, k->used - keep);
        k->used = keep;
        if (i > m.chunk && i <= a->current)
            a->bytes_before -= a->chunks[i - 1].used;
    }
    a->current = m.chunk;
}

mcs_arena_mark mcs_arena_after(const mcs_arena *a, const void *p, size_t bytes)
{
    int64_t i = a->current;
    uintptr_t at = (uintptr_t)p;
    while (i > 0 && !(at >= (uintptr_t)a->chunks[i].base &&
                      at < (uintptr_t)a->chunks[i].base + a->chunks[i].used))
        i--;
    size_t end = (size_t)(at - (uintptr_t)a->chunks[i].base) + bytes;
    return (mcs_arena_mark){ i, (end + ALIGN - 1) / ALIGN * ALIGN };
}

void mcs_arena_borrow(mcs_arena *a, mcs_arena *lender)
{
    a->lender = lender;
}

/* Back to the chunk that begins where the piece ends. */
static void join_piece(mcs_arena *a, mcs_arena *owner, int64_t i)
{
    const mcs_chunk piece = a->chunks[i];
    int64_t k = 0;
    while (k < owner->count && owner->chunks[k].base != piece.base + piece.size)
        k++;
    if (k == owner->count)
        return;
    owner->chunks[k].base = piece.base;
    owner->chunks[k].size += piece.size;
    owner->bytes_total += piece.size;
    a->bytes_total -= piece.size;
    a->count--;
    memmove(a->chunks + i, a->chunks + i + 1, (size_t)(a->count - i) * sizeof piece);
}

void mcs_arena_give_back(mcs_arena *a, mcs_arena *owner)
{
    for (int64_t i = a->count - 1; i >= 0; i--) /* pieces of a chunk: the last one is the highest */
        if (!a->chunks[i].memory)
            join_piece(a, owner, i);
        else if (a->chunks[i].borrowed)
            move_chunk(a, owner, i, false);
}

void mcs_arena_rescue(void *dst, const void *src, size_t bytes)
{
    UNPOISON(src, bytes);
    if (dst != src)
        memmove(dst, src, bytes);
    uintptr_t d = (uintptr_t)dst, s = (uintptr_t)src;
    if (d <= s && s < d + bytes)        /* overlap: dst is in use, the rest is free again */
        POISON((const char *)dst + bytes, s - d);
    else
        POISON(src, bytes);
}

bool mcs_arena_since(const mcs_arena *a, mcs_arena_mark m, const void *p)
{
    for (int64_t i = m.chunk; i <= a->current && i < a->count; i++) {
        uintptr_t base = (uintptr_t)a->chunks[i].base, at = (uintptr_t)p;
        if (at >= base + (i == m.chunk ? m.used : 0) && at < base + a->chunks[i].used)
            return true;
    }
    return false;
}
