/* load.c - from a checkpoint to a parameter store, all or nothing.
 *
 * First everything is compared (names, shapes) without reading a value; then all values are read
 * and scanned for NaN and infinity into buffers of their own; only then does the store take them
 * over.  So a failed load leaves the model as it was, and a first load holds the weights once.
 *
 * Training scripts wrap names: DataParallel puts "module." before them, checkpoints keep the
 * weights under "state_dict." or "model.".  With no prefix given, the candidates are the usual
 * ones and whatever stands before a declared name in the file; the one under which most declared
 * names exist wins, the usual ones first. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "weights/weights_internal.h"

enum { PREFIX_MAX = 128, CANDIDATES_MAX = 32, LISTED = 4 };

typedef struct {
    int64_t count;
    char text[280];
} name_list;

typedef struct {
    mcs_params *p;
    mcs_checkpoint *k;
    const char *prefix;
    const char *const *ignore;
    int flags;
    const mcs_stored **from; /* the stored tensor of each declared weight, or NULL */
    float **data; /* its values, not yet the store's */
    bool *used; /* records of the file that have a weight */
    name_list missing, unexpected, misshapen;
} load;

/* ---- Prefix ---- */

static const mcs_stored *find_prefixed(const mcs_checkpoint *k, const char *prefix,
                                       const char *name)
{
    char full[MCS_NAME_MAX + PREFIX_MAX];
    int n = snprintf(full, sizeof full, "%s%s", prefix, name);
    return n > 0 && (size_t)n < sizeof full ? mcs_checkpoint_find(k, full) : NULL;
}

static int64_t count_matches(const mcs_params *p, const mcs_checkpoint *k, const char *prefix)
{
    int64_t n = 0;
    for (int64_t i = 0; i < mcs_params_count(p); i++)
        n += find_prefixed(k, prefix, mcs_params_at(p, i).name) != NULL;
    return n;
}

/* What stands before `name` in names of the file. */
static int add_candidates(const mcs_checkpoint *k, const char *name, char (*list)[PREFIX_MAX],
                          int count)
{
    size_t n = strlen(name);
    for (int64_t i = 0; i < k->count && count < CANDIDATES_MAX; i++) {
        const char *full = k->records[i].info.name;
        size_t m = strlen(full);
        bool known = false;
        if (m < n || m - n >= PREFIX_MAX || strcmp(full + m - n, name) != 0 ||
            (m > n && full[m - n - 1] != '.'))
            continue;
        for (int j = 0; j < count && !known; j++)
            known = strlen(list[j]) == m - n && memcmp(list[j], full, m - n) == 0;
        if (!known) {
            memcpy(list[count], full, m - n);
            list[count++][m - n] = 0;
        }
    }
    return count;
}

static void find_prefix(const mcs_params *p, const mcs_checkpoint *k, char *best)
{
    static const char usual[][24] = { "",
                                      "module.",
                                      "model.",
                                      "state_dict.",
                                      "state_dict.module.",
                                      "model_state_dict.",
                                      "model.module.",
                                      "state_dict.model." };
    char list[CANDIDATES_MAX][PREFIX_MAX];
    int count = 0;
    int64_t declared = mcs_params_count(p), most = -1;
    for (; count < (int)(sizeof usual / sizeof *usual); count++)
        memcpy(list[count], usual[count], sizeof *usual);
    if (declared > 0) {
        count = add_candidates(k, mcs_params_at(p, 0).name, list, count);
        count = add_candidates(k, mcs_params_at(p, declared / 2).name, list, count);
        count = add_candidates(k, mcs_params_at(p, declared - 1).name, list, count);
    }
    for (int i = 0; i < count; i++) {
        int64_t n = count_matches(p, k, list[i]);
        if (n > most) {
            most = n;
            memcpy(best, list[i], PREFIX_MAX);
        }
    }
}

/* ---- Comparison ---- */

static bool ends_with(const char *s, const char *suffix)
{
    size_t n = strlen(s), m = strlen(suffix);
    return n >= m && strcmp(s + n - m, suffix) == 0;
}

static bool ignored(const load *l, const char *name)
{
    for (int i = 0; l->ignore && l->ignore[i]; i++)
        if (ends_with(name, l->ignore[i]))
            return true;
    return false;
}

static void list_add(name_list *l, const char *text)
{
    char q[128];
    size_t n = strlen(l->text);
    if (l->count++ < LISTED)
        snprintf(l->text + n, sizeof l->text - n, "%s%s", n ? ", " : "",
                 mcs_quote(q, sizeof q, text, strlen(text)));
    else if (l->count == LISTED + 1)
        snprintf(l->text + n, sizeof l->text - n, ", ...");
}

static bool same_shape(const mcs_stored *t, const mcs_tensor *x)
{
    if (t->ndim != x->ndim)
        return false;
    for (int d = 0; d < t->ndim; d++)
        if (t->shape[d] != x->shape[d])
            return false;
    return true;
}

static void add_misshapen(load *l, const char *name, const mcs_stored *t, const mcs_tensor *x)
{
    char text[256], want[80], got[80];
    mcs_tensor stored = { .ndim = t->ndim < MCS_MAX_DIM ? t->ndim : MCS_MAX_DIM };
    for (int d = 0; d < stored.ndim; d++)
        stored.shape[d] = t->shape[d];
    snprintf(text, sizeof text, "%s %s, not %s", name, mcs_shape_str(&stored, got, sizeof got),
             mcs_shape_str(x, want, sizeof want));
    list_add(&l->misshapen, text);
}

static void compare(load *l)
{
    size_t n = strlen(l->prefix);
    for (int64_t i = 0; i < mcs_params_count(l->p); i++) {
        mcs_param_entry entry = mcs_params_at(l->p, i);
        const mcs_stored *t = find_prefixed(l->k, l->prefix, entry.name);
        if (!t) {
            if (!(l->flags & MCS_LOAD_ALLOW_MISSING) && !ignored(l, entry.name))
                list_add(&l->missing, entry.name);
            continue;
        }
        l->used[(const mcs_record *)(const void *)t - l->k->records] = true;
        l->from[i] = t;
        if (!same_shape(t, entry.tensor))
            add_misshapen(l, entry.name, t, entry.tensor);
    }
    for (int64_t i = 0; i < l->k->count && !(l->flags & MCS_LOAD_ALLOW_UNEXPECTED); i++) {
        const char *name = l->k->records[i].info.name;
        if (!l->used[i] && strncmp(name, l->prefix, n) == 0 && !ignored(l, name))
            list_add(&l->unexpected, name);
    }
}

static mcs_status report(const load *l, mcs_error *e)
{
    const name_list *m = &l->missing, *u = &l->unexpected, *s = &l->misshapen;
    char text[960], q[PREFIX_MAX];
    size_t n = 0;
    if (m->count + u->count + s->count == 0)
        return MCS_OK;
    text[0] = 0;
    if (m->count)
        n += (size_t)snprintf(text + n, sizeof text - n,
                              "; %lld of the model's %lld weights are "
                              "missing: %s",
                              (long long)m->count, (long long)mcs_params_count(l->p), m->text);
    if (u->count)
        n += (size_t)snprintf(text + n, sizeof text - n, "; %lld names are unexpected: %s",
                              (long long)u->count, u->text);
    if (s->count)
        snprintf(text + n, sizeof text - n, "; %lld have another shape: %s", (long long)s->count,
                 s->text);
    return mcs_error_set(e, m->count || u->count ? MCS_ENOTFOUND : MCS_ESHAPE,
                         "%s: does not fit the model (prefix '%s')%s", l->k->source.path,
                         mcs_quote(q, sizeof q, l->prefix, strlen(l->prefix)), text);
}

/* ---- Values ---- */

static mcs_status scan(const load *l, const mcs_stored *t, const float *x, mcs_error *e)
{
    for (int64_t i = 0; i < t->numel; i++)
        if (!isfinite(x[i]))
            return mcs_error_set(e, MCS_ENUMERIC,
                                 "%s: tensor '%s' has %s at element %lld; the "
                                 "file is damaged or its training diverged",
                                 l->k->source.path, t->name, isnan(x[i]) ? "NaN" : "infinity",
                                 (long long)i);
    return MCS_OK;
}

static mcs_status read_values(load *l, mcs_error *e)
{
    mcs_status s = MCS_OK;
    int64_t found = 0;
    for (int64_t i = 0; i < mcs_params_count(l->p) && s == MCS_OK; i++) {
        const mcs_stored *t = l->from[i];
        if (!t)
            continue;
        found++;
        size_t bytes = ((size_t)t->numel * sizeof(float) + 63) / 64 * 64;
        l->data[i] = aligned_alloc(64, bytes ? bytes : 64);
        if (!l->data[i])
            return mcs_error_set(e, MCS_ENOMEM, "%s: out of memory for '%s' (%zu bytes)",
                                 l->k->source.path, t->name, bytes);
        s = mcs_checkpoint_read_f32(l->k, t, l->data[i], e);
        if (s == MCS_OK && !(l->flags & MCS_LOAD_ALLOW_NAN))
            s = scan(l, t, l->data[i], e);
    }
    if (s == MCS_OK && found == 0 && mcs_params_count(l->p) > 0)
        return mcs_error_set(e, MCS_ENOTFOUND, "%s: holds none of the model's weights",
                             l->k->source.path);
    return s;
}

static mcs_status load_all(load *l, mcs_error *e)
{
    int64_t n = mcs_params_count(l->p);
    compare(l);
    mcs_status s = report(l, e);
    if (s == MCS_OK)
        s = read_values(l, e);
    for (int64_t i = 0; i < n; i++) {
        if (s == MCS_OK && l->data[i])
            mcs_params_adopt(l->p, i, l->data[i]);
        else
            free(l->data[i]);
    }
    if (s == MCS_OK)
        mcs_params_touch(l->p);
    return s;
}

mcs_status mcs_params_load(mcs_params *p, mcs_checkpoint *k, const char *prefix,
                           const char *const *ignore, int flags, mcs_error *e)
{
    char found[PREFIX_MAX] = "";
    mcs_error local = { 0 };
    e = e ? e : &local;
    if (e->status != MCS_OK)
        return e->status;
    if (!p || !k)
        return mcs_error_set(e, MCS_EINVAL, "load: no store or no checkpoint given");
    if (mcs_params_status(p) != MCS_OK)
        return mcs_error_set(e, mcs_params_status(p), "%s", mcs_params_message(p));
    if (!prefix)
        find_prefix(p, k, found);
    size_t n = (size_t)mcs_params_count(p);
    load l = {
        .p = p, .k = k, .prefix = prefix ? prefix : found, .ignore = ignore, .flags = flags
    };
    l.from = calloc(n + 1, sizeof *l.from);
    l.data = calloc(n + 1, sizeof *l.data);
    l.used = calloc((size_t)k->count + 1, sizeof *l.used);
    mcs_status s = l.from && l.data && l.used
                       ? load_all(&l, e)
                       : mcs_error_set(e, MCS_ENOMEM, "%s: out of memory", k->source.path);
    free(l.from);
    free(l.data);
    free(l.used);
    return s;
}
