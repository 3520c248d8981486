/* retrieval.h - how often a picture finds its caption among others, and a caption its picture. */
#ifndef MCS_RETRIEVAL_H
#define MCS_RETRIEVAL_H
#include "tensor/tensor.h"

enum { MCS_RETRIEVAL_KS = 8 };

typedef struct {
    const float *image, *text; /* (count, width): row i of one belongs to row i of the other */
    int64_t count, width;
    const int64_t *group; /* Nullable; pairs of the same group >= 0 are no rivals of each other */
    /* Nullable: is the caption true of an image that is not its own?  Then neither is a wrong
     * answer to the other.  Called from several threads. */
    bool (*also)(const void *arg, int64_t caption, int64_t image);
    const void *arg;
} mcs_retrieval_pairs;

typedef struct {
    int64_t batch; /* rivals come from batches of so many pairs; 0: from all */
    int runs; /* shufflings into batches; without batches one run says all */
    int k[MCS_RETRIEVAL_KS], ks; /* top-k for these k >= 1 */
    uint64_t seed;
} mcs_retrieval_opts;

/* In 0..1: mean over the runs of the share of pairs that are right, the sample standard deviation
 * (n - 1) over the runs, and the 95 % percentile interval of that mean when the pairs are drawn
 * anew (bootstrap, 1000 draws). */
typedef struct {
    double mean, sd, low, high;
} mcs_retrieval_score;

typedef struct {
    mcs_retrieval_score image_to_text[MCS_RETRIEVAL_KS], text_to_image[MCS_RETRIEVAL_KS];
    double rank_image, rank_text; /* mean rank of the right one, 1 is best */
} mcs_retrieval_result;

/* The protocol of MedCLIP-SAM is batch 50, runs 5, k 1 and 2.  The pairs are shuffled by (seed,
 * run) and cut into batches, the last of which may be smaller.  Image i is right at k if fewer
 * than k captions of its batch have a larger cosine with it; of equal ones the earlier in the
 * batch comes first, so that equal embeddings for all give chance, not 100 %.
 * MCS_EINVAL: fewer than 2 pairs, or options out of range; MCS_ENUMERIC: an embedding is not
 * finite.  Nullable: pool. */
mcs_status mcs_retrieval(const mcs_retrieval_pairs *p, const mcs_retrieval_opts *o, mcs_pool *pool,
                         mcs_retrieval_result *r, mcs_error *e) MCS_MUST_CHECK;

/* What can be attained at all: the same batches ranked by what is known of `count` pairs instead
 * of by embeddings.  Fit is how well a caption suits an image, the larger the better; of equal
 * fits any order is as likely as any other, and an expected value is counted: k - above of equal
 * ones, where `above` fit better.  Called from several threads. */
typedef double mcs_retrieval_fit(const void *arg, int64_t caption, int64_t image);
mcs_status mcs_retrieval_ceiling(int64_t count, mcs_retrieval_fit *fit, const void *arg,
                                 const mcs_retrieval_opts *o, mcs_pool *pool,
                                 mcs_retrieval_result *r, mcs_error *e) MCS_MUST_CHECK;
#endif
