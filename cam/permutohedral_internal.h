/* permutohedral_internal.h - what building and filtering share. */
#ifndef MCS_PERMUTOHEDRAL_INTERNAL_H
#define MCS_PERMUTOHEDRAL_INTERNAL_H
#include <stdbool.h>
#include "cam/permutohedral.h"

typedef struct {
    uint64_t w[2];
} lattice_key; /* coordinate i in bits 16 (i%4) of w[i/4] */

/* A set of keys, numbered from 1 in order of insertion. */
typedef struct {
    lattice_key *keys;
    uint64_t *slots; /* high half of the hash, number; probed linearly */
    int64_t count, limit; /* keys held; keys that fit before the next doubling */
    uint64_t mask; /* slots - 1 */
} lattice_table;

bool mcs_lattice_table_init(lattice_table *t, int64_t limit); /* false: out of memory */
void mcs_lattice_table_free(lattice_table *t);
uint32_t mcs_lattice_table_find(const lattice_table *t, lattice_key k); /* 0: not there */
uint32_t mcs_lattice_table_insert(lattice_table *t, lattice_key k); /* 0: out of memory */

typedef struct {
    lattice_table table; /* while building */
    uint32_t *vertex; /* (count): vertex of each local id, from 1 */
    int64_t count, first; /* local vertices; the same of all chunks before */
    mcs_status status;
} lattice_chunk;

struct mcs_lattice {
    int64_t n, chunk_points, chunk_count, vertices, locals;
    int d;
    lattice_chunk *chunks;
    uint16_t *id; /* (n, d+1): local vertex of each remainder */
    float *weight; /* (n, d+1): barycentric coordinates */
    uint32_t *near; /* (d+1, vertices+1, 2): neighbours along each axis; 0: none */
};
#endif
