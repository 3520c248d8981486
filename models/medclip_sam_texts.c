/* medclip_sam_texts.c - the vectors that a picture's maps explain: ensembles and negatives.
 *
 * A score is linear in the text's vector, so cos(text) - weight * mean of cos(negative) is explained
 * as the score of one vector, text - weight * mean of the negatives, whatever the method.  With
 * MCS_NEGATIVE_MAP the negatives have maps of their own instead. */
#include <stdlib.h>
#include "models/medclip_sam_internal.h"

/* Words of no meaning: a map that follows the text differs from theirs. */
static const char *const nonsense[] = { "flurb zint quaggle of the wembly oot" };

/* Mean of the normalised embeddings, normalised again (Radford et al. 2021, sec. 3.1.4). */
static mcs_tensor *ensemble(mcs_ctx *c, mcs_tensor *e, mcs_zeroshot_ensemble how)
{
    if (!e || how == MCS_ENSEMBLE_MAP || e->shape[0] == 1)
        return e;
    return mcs_l2_normalize(c, mcs_mean_dim(c, e, 0, true), 1e-12f);
}

static mcs_tensor *embed(mcs_zeroshot_job *j, const mcs_tensor *known, const char *const *texts,
                         int count)
{
    return known ? mcs_detach(j->c, known) : mcs_medclip_sam_text(j->c, j->m, texts, count);
}

/* Parts of the two tensors, in order. */
typedef struct {
    const mcs_tensor **rows, **against;
    int count;
} part_list;

static void add(part_list *l, mcs_zeroshot_texts *t, const mcs_tensor *rows,
                const mcs_tensor *against)
{
    l->rows[l->count] = rows;
    l->against[l->count++] = against;
    t->total += (int)mcs_dim(rows, 0);
}

static bool add_query(mcs_zeroshot_job *j, int i, mcs_zeroshot_texts *t, part_list *l)
{
    const mcs_zeroshot_query *q = &j->queries[i];
    mcs_ctx *c = j->c;
    mcs_tensor *rows = ensemble(c, embed(j, q->embedding, q->texts, q->text_count), j->o->ensemble);
    mcs_tensor *negative = q->negative_count || q->negative_embedding
                               ? embed(j, q->negative_embedding, q->negatives, q->negative_count)
                               : NULL;
    if (mcs_ctx_status(c) != MCS_OK)
        return false;
    t->first[i] = t->total;
    t->maps[i] = (int)rows->shape[0];
    if (!negative || j->o->negative == MCS_NEGATIVE_MAP) {
        add(l, t, rows, rows);
    } else {
        mcs_tensor *mean = mcs_mean_dim(c, negative, 0, true);
        add(l, t, rows, mcs_sub(c, rows, mcs_mul(c, mean, mcs_scalar(c, j->o->negative_weight))));
    }
    if (negative && j->o->negative == MCS_NEGATIVE_MAP) {
        t->first_negative[i] = t->total;
        t->negatives[i] = (int)negative->shape[0];
        add(l, t, negative, negative);
    }
    return true;
}

static bool relevance_asked(const mcs_zeroshot_opts *o)
{
    for (int k = 0; k < o->cam_count; k++)
        if (o->cams[k] == MCS_CAM_RELEVANCE)
            return true;
    return false;
}

static bool add_all(mcs_zeroshot_job *j, mcs_zeroshot_texts *t, part_list *l)
{
    mcs_ctx *c = j->c;
    for (int i = 0; i < j->count; i++) {
        const mcs_zeroshot_query *q = &j->queries[i];
        if (mcs_zeroshot_prompted(q))
            continue;
        if (q->negative_count && j->o->negative == MCS_NEGATIVE_RELEVANCE && !relevance_asked(j->o))
            mcs_fail(c, MCS_EINVAL,
                     "negatives are for the relevance map alone, and it is not asked "
                     "for: add it to the product of maps");
        if (!add_query(j, i, t, l))
            return false;
    }
    if (l->count && j->o->check_prompt) {
        const mcs_tensor *row = mcs_medclip_sam_text(c, j->m, nonsense, 1);
        t->nonsense = t->total;
        add(l, t, row, row);
    }
    if (l->count) {
        t->rows = mcs_concat(c, 0, l->count, l->rows);
        t->against = mcs_concat(c, 0, l->count, l->against);
    }
    return mcs_ctx_status(c) == MCS_OK;
}

bool mcs_zeroshot_collect(mcs_zeroshot_job *j, mcs_zeroshot_texts *t)
{
    size_t n = (size_t)j->count, most = 2 * n + 1;
    *t = (mcs_zeroshot_texts){ .first = calloc(4 * n, sizeof *t->first), .nonsense = -1 };
    part_list l = { .rows = calloc(2 * most, sizeof *l.rows) };
    bool fine = false;
    if (!t->first || !l.rows) {
        mcs_fail(j->c, MCS_ENOMEM, "out of memory for %d queries", j->count);
    } else {
        t->maps = t->first + n;
        t->first_negative = t->maps + n;
        t->negatives = t->first_negative + n;
        l.against = l.rows + most;
        fine = add_all(j, t, &l);
    }
    free(l.rows);
    return fine;
}
