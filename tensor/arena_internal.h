/* arena_internal.h - bump allocation in recycled chunks.  Private to tensor/. */
#ifndef MCS_ARENA_INTERNAL_H
#define MCS_ARENA_INTERNAL_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct { char *base; size_t size, used; } mcs_chunk;

typedef struct {
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
/* memmove of bytes just released to where they were allocated again. */
void mcs_arena_rescue(void *dst, const void *src, size_t bytes);
/* p was allocated since the mark. */
bool mcs_arena_since(const mcs_arena *a, mcs_arena_mark m, const void *p);
#endif
