/* pickle_internal.h - a pickle machine that only records.  Not installed.
 *
 * Python's pickle is a program for a stack machine that may import and call anything.  This one
 * knows the instructions PyTorch writes and a fixed list of names (pickle_globals.c); a "call"
 * of a listed name notes a tensor, a dictionary or an opaque value.  Anything else is an error
 * naming the instruction or the name and its byte.  Nothing is imported, nothing is executed,
 * nothing recurses, and all that grows has a limit. */
#ifndef MCS_PICKLE_INTERNAL_H
#define MCS_PICKLE_INTERNAL_H
#include "weights/weights_internal.h"

enum {
    MCS_PICKLE_STACK_MAX = 1 << 20, /* values on the stack */
    MCS_PICKLE_OBJECTS_MAX = 1 << 21,       /* tuples, lists, dictionaries, tensors */
    MCS_PICKLE_ITEMS_MAX = 1 << 22, /* values in all of them; visits of the tree walk */
    MCS_PICKLE_DEPTH_MAX = 64       /* nested containers on the way to a tensor */
};

typedef enum {
    PV_NONE,
    PV_BOOL,
    PV_INT,
    PV_TEXT,
    PV_OPAQUE,                      /* float, bytes, device, ...: of no interest */
    PV_TUPLE,
    PV_LIST,
    PV_DICT,                        /* index into objects */
    PV_GLOBAL,                      /* index into the list of known names */
    PV_STORAGE,                     /* index into storages */
    PV_TENSOR                       /* index into tensors */
} mcs_pickle_kind;

typedef struct {
    mcs_pickle_kind kind;
    uint32_t n;                     /* PV_TEXT: bytes; the others: index */
    union {
        int64_t i;                  /* PV_INT, PV_BOOL */
        const char *text;           /* into the pickle, not NUL-terminated */
    } u;
} mcs_pickle_value;

typedef struct {
    mcs_pickle_value *items;        /* dictionary: key, value, ... */
    uint32_t count, capacity;
    bool on_path;                   /* the tree walk is inside it */
} mcs_pickle_object;

typedef struct {                    /* a persistent id ("storage", type, key, ...) */
    const char *key;
    uint32_t key_bytes;
    bool untyped;                   /* numel counts bytes, the tensor says the type */
    mcs_stored_dtype dtype;
    int64_t numel;
    int64_t view_offset;            /* legacy views: elements into the base storage */
    int64_t view_numel;             /* -1: not a view */
    uint64_t bytes;                 /* numel * element size */
    int64_t blob;                   /* filled by the file format: where it is */
} mcs_pickle_storage;

typedef struct {
    uint32_t storage;
    mcs_stored_dtype dtype;
    int64_t offset;                 /* elements */
    int64_t ndim;
    int64_t shape[MCS_FILE_DIMS], stride[MCS_FILE_DIMS];
} mcs_pickle_tensor;

#define MCS_PICKLE_LIST(T)                                                                         \
    struct {                                                                                       \
        T *at;                                                                                     \
        void *grown;                /* used by MCS_PICKLE_ROOM */                                  \
        uint32_t count, capacity;                                                                  \
    }

typedef struct mcs_pickle {
    mcs_checkpoint *k;
    const uint8_t *begin, *p, *end;
    uint64_t base;                  /* of begin in its file, for messages */
    int opcode;
    const uint8_t *opcode_at;
    MCS_PICKLE_LIST(mcs_pickle_value) stack;
    MCS_PICKLE_LIST(mcs_pickle_value) memo;
    MCS_PICKLE_LIST(uint32_t) marks;
    MCS_PICKLE_LIST(mcs_pickle_object) objects;
    MCS_PICKLE_LIST(mcs_pickle_storage) storages;
    MCS_PICKLE_LIST(mcs_pickle_tensor) tensors;
    uint32_t items;                 /* in all objects */
    uint64_t imports[2];            /* bit g: known name g was met */
    mcs_pickle_value root;
    mcs_error *e;
} mcs_pickle;

/* Runs one pickle of at most n bytes; *used is its length.  p is then freed by
 * mcs_pickle_free() whatever came out.  Texts point into `bytes`, which must outlive p. */
mcs_status mcs_pickle_run(mcs_pickle *p, mcs_checkpoint *k, const uint8_t *bytes, size_t n,
                          uint64_t base, size_t *used, mcs_error *e);
void mcs_pickle_free(mcs_pickle *p);
/* Once every storage has its blob: the tensors of the tree become records of k, and the names
 * met its imports. */
mcs_status mcs_pickle_records(mcs_pickle *p);

/* ---- Between the files of the machine ---- */

/* "FILE: pickle, byte N: opcode REDUCE (0x52): ..." */
mcs_status mcs_pickle_fail(mcs_pickle *p, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
mcs_status mcs_pickle_nomem(mcs_pickle *p);
/* The list with room for one more element of `size` bytes; NULL: no memory, the list stands. */
void *mcs_pickle_grown(void *at, uint32_t *capacity, uint32_t count, size_t size);
#define MCS_PICKLE_ROOM(l)                                                                         \
    (((l).grown = mcs_pickle_grown((l).at, &(l).capacity, (l).count, sizeof *(l).at)) != NULL &&   \
     ((l).at = (l).grown, true))
/* A new tuple, list or dictionary with copies of n values, into *out. */
mcs_status mcs_pickle_object_new(mcs_pickle *p, mcs_pickle_kind kind, const mcs_pickle_value *items,
                                 uint32_t n, mcs_pickle_value *out);
mcs_status mcs_pickle_extend(mcs_pickle *p, uint32_t object, const mcs_pickle_value *items,
                             uint32_t n);
/* The next n bytes, or an unsigned little-endian number of `bytes` bytes. */
mcs_status mcs_pickle_take(mcs_pickle *p, uint64_t n, const uint8_t **out);
mcs_status mcs_pickle_number(mcs_pickle *p, int bytes, uint64_t *out);
bool mcs_pickle_is_text(mcs_pickle_value v, const char *s);

/* pickle_globals.c: what each listed name means. */
mcs_status mcs_pickle_global(mcs_pickle *p, const char *module, size_t m, const char *name,
                             size_t n, mcs_pickle_value *out);
mcs_status mcs_pickle_call(mcs_pickle *p, mcs_pickle_value fn, mcs_pickle_value args,
                           mcs_pickle_value *out);
mcs_status mcs_pickle_persistent(mcs_pickle *p, mcs_pickle_value id, mcs_pickle_value *out);
const char *mcs_pickle_global_name(int i);  /* "module.name"; NULL past the end */
#endif
