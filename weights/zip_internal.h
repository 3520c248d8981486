/* zip_internal.h - the directory of a zip archive of stored entries.  Not installed. */
#ifndef MCS_ZIP_INTERNAL_H
#define MCS_ZIP_INTERNAL_H
#include "weights/weights_internal.h"

typedef struct {
    const char *name;               /* owned by the checkpoint */
    size_t name_bytes;
    uint64_t local;                 /* offset of the local header */
    uint64_t data, size;            /* the bytes themselves */
    uint64_t end;                   /* past the data descriptor, if there is one */
    uint32_t crc;
    uint16_t flags;
    int64_t blob;                   /* for the caller; -1 */
} mcs_zip_entry;

typedef struct {
    mcs_zip_entry *entries;         /* in the order of their data */
    mcs_zip_entry **sorted;         /* by name */
    int64_t count;
    bool no_crc;                    /* all are 0: torch.serialization.set_crc32_options(False) */
    uint64_t directory, directory_bytes;    /* the central directory */
} mcs_zip;

/* Reads and checks the whole directory: see zip_directory.c.  Close it whatever comes out. */
mcs_status mcs_zip_open(mcs_zip *z, mcs_checkpoint *k, mcs_error *e);
void mcs_zip_close(mcs_zip *z);
mcs_zip_entry *mcs_zip_find(const mcs_zip *z, const char *name); /* NULL if absent */
#endif
