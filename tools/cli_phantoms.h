/* cli_phantoms.h - what the files of make_phantoms share. */
#ifndef MCS_CLI_PHANTOMS_H
#define MCS_CLI_PHANTOMS_H
#include "image/image.h"
#include "image/phantom.h"
#include "tools/cli_files.h"

enum { PH_WHOLE, PH_CROP, PH_SPOTLIGHT, PH_MIXED, PH_VIEWS };

typedef struct {
    const char *out, *montage, *vocab, *kinds, *views;
    int64_t count;
    int size, captions, columns;
    float crops, spotlights; /* shares of mixed views */
    int unlit; /* 1: absent */
    float complete; /* share of captions */
    bool healthy, stats, masks;
} ph_options;

/* One picture: a phantom or a view of it. */
typedef struct {
    int64_t index; /* of the phantom */
    int view;
    char stem[64];
    mcs_phantom_facts facts;
    int finding, other; /* structures of masks/ and masks_other/; -1: none */
    mcs_error e;
} ph_item;

typedef struct {
    cli *t;
    const ph_options *o;
    mcs_pool *pool; /* of a context; Nullable */
    mcs_phantom_kind kind[MCS_PHANTOM_KINDS]; /* those asked for */
    int kinds;
    bool view[PH_VIEWS];
    int per_phantom; /* pictures of one phantom */
    const char *folder[6]; /* images, masks, masks_other, structures */
} ph_job;

/* The phantom of item i of a job: a pure function of the options. */
mcs_status ph_phantom(const ph_job *j, int64_t i, int size, mcs_phantom *p,
                      mcs_error *e) MCS_MUST_CHECK;
/* Item i with its picture in p; sets all of item. */
mcs_status ph_make(const ph_job *j, int64_t i, ph_item *item, mcs_phantom *p) MCS_MUST_CHECK;
/* All files of the job. */
int ph_write_all(ph_job *j);
/* A contact sheet of the first pictures, with outlines. */
int ph_montage(ph_job *j);
/* A WordPiece vocabulary of the words of captions and prompts. */
int ph_vocabulary(ph_job *j);
/* A table of what the phantoms are like; CLI_MISMATCH if one has a structure without contrast. */
int ph_stats(ph_job *j);
#endif
