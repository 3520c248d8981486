/* clip_texts.c - captions in groups of like length. */
#include "models/clip_texts.h"
#include <stdlib.h>
#include <string.h>

enum { GROUPS = 4, GROUP_LEAST = 8 }; /* smaller groups leave the products too few rows */

typedef struct {
    int64_t length, index;
} caption;

static int compare(const void *a, const void *b)
{
    const caption *x = a, *y = b;
    if (x->length != y->length)
        return x->length < y->length ? -1 : 1;
    return x->index < y->index ? -1 : 1;
}

static caption *sort_captions(mcs_ctx *c, const int64_t *ids, int64_t count, int64_t length)
{
    caption *sorted = malloc((size_t)count * sizeof *sorted + 1);
    if (!sorted)
        mcs_fail(c, MCS_ENOMEM, "captions: no memory to sort %lld", (long long)count);
    for (int64_t i = 0; sorted && i < count; i++) {
        int64_t n = length;
        while (n > 0 && ids[i * length + n - 1] == 0)
            n--;
        sorted[i] = (caption){ n, i };
    }
    if (sorted)
        qsort(sorted, (size_t)count, sizeof *sorted, compare);
    return sorted;
}

static mcs_tensor *encode_group(mcs_ctx *c, const mcs_biomedclip *m, const int64_t *ids,
                                const caption *group, int64_t count, int64_t length)
{
    mcs_scope s = mcs_scope_begin(c);
    mcs_tensor *rows = mcs_new_typed(c, MCS_I64, 2, MCS_SHAPE(count, length));
    for (int64_t i = 0; rows && i < count; i++)
        memcpy(mcs_i64(rows) + i * length, ids + group[i].index * length,
               (size_t)length * sizeof *ids);
    return mcs_scope_end(c, s, rows ? mcs_biomedclip_encode_text(c, m, rows, NULL) : NULL);
}

/* Row i of the groups, one after the other, is caption sorted[i]. */
static mcs_tensor *restore(mcs_ctx *c, const caption *sorted, int64_t count, int groups,
                           const mcs_tensor *const *parts)
{
    mcs_tensor *place = mcs_new_typed(c, MCS_I64, 1, MCS_SHAPE(count));
    mcs_tensor *all = mcs_concat(c, 0, groups, parts);
    for (int64_t i = 0; place && i < count; i++)
        mcs_i64(place)[sorted[i].index] = i;
    return all && place ? mcs_embedding(c, all, place) : NULL;
}

mcs_tensor *mcs_clip_encode_texts(mcs_ctx *c, const mcs_biomedclip *m, const int64_t *ids,
                                  int64_t count, int64_t length)
{
    const mcs_tensor *parts[GROUPS] = { NULL };
    int64_t most = count / GROUP_LEAST;
    int groups = most < 1 ? 1 : most < GROUPS ? (int)most : GROUPS;
    caption *sorted = groups > 1 ? sort_captions(c, ids, count, length) : NULL;
    mcs_tensor *y = NULL;
    if (!sorted || sorted[0].length == sorted[count - 1].length) {
        free(sorted);
        return mcs_biomedclip_encode_text(
            c, m, mcs_from(c, MCS_I64, 2, MCS_SHAPE(count, length), ids), NULL);
    }
    for (int g = 0; g < groups; g++) {
        int64_t begin = count * g / groups, end = count * (g + 1) / groups;
        parts[g] = encode_group(c, m, ids, sorted + begin, end - begin, length);
    }
    if (mcs_ctx_status(c) == MCS_OK)
        y = restore(c, sorted, count, groups, parts);
    free(sorted);
    return y;
}
