/* medclip_sam_internal.h - the stages of the composed system. */
#ifndef MCS_MEDCLIP_SAM_INTERNAL_H
#define MCS_MEDCLIP_SAM_INTERNAL_H
#include "cam/cam.h"
#include "models/biomedclip.h"
#include "models/medclip_sam.h"
#include "models/sam.h"

struct mcs_medclip_sam {
    mcs_biomedclip *clip; /* NULL: none loaded */
    mcs_sam *sam; /* NULL: none loaded */
};

/* What is explained: one row per map. */
typedef struct {
    mcs_tensor *rows; /* (P,D): all queries' texts, negatives that get maps, the nonsense */
    mcs_tensor *against; /* (P,D): the same, less the negatives that get none */
    int *first, *maps; /* (count): rows of a query's texts */
    int *first_negative, *negatives; /* (count): rows of its negatives */
    int total; /* P */
    int nonsense; /* its row, or -1 */
} mcs_zeroshot_texts;

enum { MCS_ZEROSHOT_CAMS = MCS_CAM_RISE + 1 };

/* One picture at work. */
typedef struct {
    mcs_ctx *c;
    const mcs_medclip_sam *m;
    const mcs_zeroshot_opts *o;
    mcs_image *rgb; /* 8-bit RGB */
    int64_t pixels;
    int count;
    const mcs_zeroshot_query *queries;
    mcs_zeroshot_result *results; /* count */
    mcs_tensor *embedding; /* SAM's, (1,256,G,G); NULL until the first query needs it */
    /* Of the saliency, what several methods on one picture share; zero until needed. */
    mcs_zeroshot_texts texts;
    mcs_cam *cam;
    mcs_tensor *square; /* the picture as CLIP sees it */
    mcs_geometry geometry;
    struct {
        mcs_tensor *maps; /* (P,grid,grid) */
        float *peak; /* (P) */
    } seen[MCS_ZEROSHOT_CAMS]; /* by method */
} mcs_zeroshot_job;

/* The query has given boxes or points, which replace the text stage. */
static inline bool mcs_zeroshot_prompted(const mcs_zeroshot_query *q)
{
    return q->box_count > 0 || q->point_count > 0;
}

double mcs_zeroshot_clock(void);
/* Encodes the texts of all queries (medclip_sam_texts.c).  t->rows stays NULL if there are none.
 * The caller frees t->first.  False: see the context. */
bool mcs_zeroshot_collect(mcs_zeroshot_job *j, mcs_zeroshot_texts *t);
/* Maps (P,grid,grid) in [0,1] of the texts in rows (P,D): the product of the methods asked for;
 * relevance alone explains the rows of `against` instead; peak (P).  cam was made on the same model
 * and image. */
mcs_tensor *mcs_zeroshot_maps(mcs_zeroshot_job *j, mcs_cam *cam, const mcs_cam_model *m,
                              const mcs_tensor *image, const mcs_tensor *rows,
                              const mcs_tensor *against, float *peak);
/* Saliency of every query that has texts, into its result.  False: see the context. */
bool mcs_zeroshot_saliency(mcs_zeroshot_job *j);
/* Coarse mask and boxes of query i from its saliency. */
bool mcs_zeroshot_coarse_mask(mcs_zeroshot_job *j, int i);
/* Mask of query i from its boxes and points. */
bool mcs_zeroshot_segment(mcs_zeroshot_job *j, int i);
#endif
