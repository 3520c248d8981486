/* arena_internal.h - bump allocation in recycled chunks.  Private to tensor/. */
#ifndef MCS_ARENA_INTERNAL_H
#define MCS_ARENA_INTERNAL_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    void *memory;               /* of malloc(); NULL: a piece of a chunk of the lender */
    char *base;                 /* behind what is lent */
    size_t size, used;
    bool borrowed;
} mcs_chunk;

typedef struct mcs_arena {
    struct mcs_arena *lender;   /* Nullable; see mcs_arena_borrow() */
    mcs_chunk *chunks;          /* count chunks; those after `current` are empty */
    int64_t count, capacity, current;
    size_t bytes_max;           /* limit on the sum of sizes; 0: none */
    size_t bytes_total;         /* sum of sizes */
    size_t bytes_before;        /* sum of used of the chunks before current */
    size_t bytes_peak;
} mcs_arena;

typedef struct { int64_t chunk; size_t used; } mcs_arena_mark;

void mcs_arena_init(mcs_arena *a, size_t bytes_max);
void mcs_arena_free(mcs_arena *a);
/* 64-byte aligned, uninitialised; NULL: malloc failed or the limit was reached. */
void *mcs_arena_alloc(mcs_arena *a, size_t bytes);
mcs_arena_mark mcs_arena_now(const mcs_arena *a);
/* Frees all that was allocated since the mark; the chunks stay. */
void mcs_arena_release(mcs_arena *a, mcs_arena_mark m);
/* The mark behind `bytes` at p, which were allocated in one piece. */
mcs_arena_mark mcs_arena_after(const mcs_arena *a, const void *p, size_t bytes);
/* Lets a take empty chunks of the lender, or the lower end of large ones, before it asks for new
 * memory; NULL: no longer. */
void mcs_arena_borrow(mcs_arena *a, mcs_arena *lender);
/* Gives borrowed chunks that are empty back to their owner.  a is empty. */
void mcs_arena_give_back(mcs_arena *a, mcs_arena *owner);
/* memmove of bytes just released to where they were allocated again. */
void mcs_arena_rescue(void *dst, const void *src, size_t bytes);
/* p was allocated since the mark. */
bool mcs_arena_since(const mcs_arena *a, mcs_arena_mark m, const void *p);
#endif
