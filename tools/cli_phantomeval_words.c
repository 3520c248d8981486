/* cli_phantomeval_words.c - which words a model has learnt: is the structure there, where, how large?
 *
 * For each structure the texts name it alone, with each of nine places and with each of three
 * sizes; a text's embedding is the mean over some wordings.  Present: the area under the ROC curve
 * of the cosine with the plain text, pictures of the same kind with and without the structure
 * (parts of it: left out), with the interval of Hanley & McNeil (1982).  Place and size: how often
 * the best of the texts is the true one, with Wilson's interval. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "losses/metrics.h"
#include "tools/cli_phantomeval.h"

enum { WORDINGS = 4, MIDDLE = 1 };

static double dot(const float *a, const float *b, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += (double)a[i] * (double)b[i];
    return sum;
}

static pe_summary of_area(double a, int64_t with, int64_t without)
{
    double q1 = a / (2 - a), q2 = 2 * a * a / (1 + a), n = (double)with, m = (double)without;
    double var = (a * (1 - a) + (n - 1) * (q1 - a * a) + (m - 1) * (q2 - a * a)) / (n * m);
    double off = 1.959964 * sqrt(fmax(var, 0));
    return (pe_summary){ with + without, a, fmax(a - off, 0), fmin(a + off, 1), a };
}

static pe_summary of_share(int64_t right, int64_t all)
{
    const double z2 = 1.959964 * 1.959964;
    double n = (double)all, p = (double)right / n, middle = (p + z2 / (2 * n)) / (1 + z2 / n);
    double off = sqrt(z2 * (p * (1 - p) / n + z2 / (4 * n * n))) / (1 + z2 / n);
    return (pe_summary){ all, p, fmin(middle - off, p), fmax(middle + off, p), p };
}

static mcs_status presence(const pe_pairs *p, int count, mcs_phantom_structure s, const float *text,
                           pe_summary *out, mcs_error *e)
{
    float *score = malloc(((size_t)count + 1) * sizeof *score);
    uint8_t *there = malloc((size_t)count + 1);
    int64_t n = 0, with = 0;
    double area = 0;
    mcs_status st = score && there ? MCS_OK : mcs_error_set(e, MCS_ENOMEM, "out of memory");
    for (int i = 0; i < count && st == MCS_OK; i++) {
        const mcs_phantom_facts *f = &p->facts[i];
        bool shows = mcs_phantom_shows(f, s);
        const float *x = p->image + i * p->width;
        if (f->kind != mcs_phantom_kind_of(s) || (!shows && f->part[s].visible > 0))
            continue;
        there[n] = shows;
        with += shows;
        score[n++] = (float)(dot(x, text, p->width) / sqrt(dot(x, x, p->width)));
    }
    if (st == MCS_OK && with && with < n && (st = mcs_auc(there, score, n, &area, e)) == MCS_OK)
        *out = of_area(area, with, n - with);
    free(score);
    free(there);
    return st;
}

/* The text of the largest cosine. */
static int best(const float *x, const float *text, int n, int64_t width)
{
    int at = 0;
    double top = -HUGE_VAL;
    for (int k = 0; k < n; k++) {
        const float *t = text + k * width;
        double value = dot(x, t, width) / sqrt(dot(t, t, width));
        if (value > top) {
            top = value;
            at = k;
        }
    }
    return at;
}

mcs_status pe_words_of(const pe_pairs *p, int count, mcs_phantom_structure s, const float *text,
                       pe_words *out, mcs_error *e)
{
    int64_t all = 0, place = 0, size = 0, seen[PE_PLACES] = { 0 }, most = 0;
    *out = (pe_words){ 0 };
    for (int i = 0; i < count; i++) {
        const mcs_phantom_part *part = &p->facts[i].part[s];
        const float *x = p->image + i * p->width;
        if (!mcs_phantom_shows(&p->facts[i], s))
            continue;
        int where = part->row * 3 + part->column;
        all++;
        seen[where]++;
        most = seen[where] > most ? seen[where] : most;
        place += best(x, text + p->width, PE_PLACES, p->width) == where;
        size += best(x, text + (1 + PE_PLACES) * p->width, PE_SIZES, p->width) == part->size;
    }
    if (!all)
        return MCS_OK;
    out->size = of_share(size, all);
    if (s != MCS_PHANTOM_LUNGS) { /* of which captions say the side alone */
        out->place = of_share(place, all);
        out->most = of_share(most, all);
    }
    return presence(p, count, s, text, &out->present, e);
}

/* ---- Texts ---- */

/* Text k of a structure: 0 plain, then places, then sizes. */
static void describe(mcs_phantom_structure s, int k, uint64_t seed, mcs_phantom_caption *c)
{
    bool placed = k >= 1 && k <= PE_PLACES, sized = k > PE_PLACES;
    mcs_phantom_facts f = { .kind = mcs_phantom_kind_of(s) };
    const mcs_phantom_wording w = { .single = 1, .position = placed, .size = sized };
    f.part[s] = (mcs_phantom_part){ .visible = 1,
                                    .area = 0.5f,
                                    .row = placed ? (k - 1) / 3 : MIDDLE,
                                    .column = placed ? (k - 1) % 3 : MIDDLE,
                                    .size = sized ? k - 1 - PE_PLACES : MIDDLE };
    mcs_phantom_describe(&f, &w, seed, c);
}

/* Adds the embedding at length 1. */
static bool add_text(pe_eval *w, const char *text, float *sum)
{
    int64_t n = w->pairs.width;
    const mcs_tensor *x = mcs_biomedclip_encode_caption(w->ctx, w->clip, text);
    if (!x)
        return false;
    double length = sqrt(dot(mcs_f32(x), mcs_f32(x), n));
    for (int64_t i = 0; i < n; i++)
        sum[i] += (float)((double)mcs_f32(x)[i] / fmax(length, 1e-12));
    mcs_ctx_reset(w->ctx);
    return true;
}

static void emit(pe_eval *w, mcs_phantom_structure s, const pe_words *out)
{
    const char *name = mcs_phantom_structure_name(s);
    const struct {
        const char *metric;
        const pe_summary *sum;
    } rows[] = { { "present_auc", &out->present },
                 { "place_top1", &out->place },
                 { "place_most_frequent", &out->most },
                 { "size_top1", &out->size } };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].sum->n)
            pe_emit(w, "words", name, rows[i].metric, rows[i].sum);
}

int pe_report_words(pe_eval *w)
{
    size_t n = (size_t)w->pairs.width;
    float *text = malloc(PE_TEXTS * n * sizeof *text);
    mcs_error e = { 0 };
    int code = text ? CLI_CONTINUE : cli_error(w->t, CLI_NO_MEMORY, "out of memory");
    for (int s = 0; s < MCS_PHANTOM_STRUCTURES && code == CLI_CONTINUE; s++) {
        pe_words out;
        memset(text, 0, PE_TEXTS * n * sizeof *text);
        for (int k = 0; k < PE_TEXTS * WORDINGS && code == CLI_CONTINUE; k++) {
            mcs_phantom_caption c;
            describe((mcs_phantom_structure)s, k / WORDINGS, (uint64_t)(k % WORDINGS), &c);
            if (!add_text(w, c.text, text + (size_t)(k / WORDINGS) * n))
                code = cli_die(w->t, mcs_ctx_error(w->ctx), true);
        }
        if (code == CLI_CONTINUE &&
            pe_words_of(&w->pairs, w->o->count, (mcs_phantom_structure)s, text, &out, &e) != MCS_OK)
            code = cli_die(w->t, &e, true);
        if (code == CLI_CONTINUE)
            emit(w, (mcs_phantom_structure)s, &out);
    }
    free(text);
    return code;
}
