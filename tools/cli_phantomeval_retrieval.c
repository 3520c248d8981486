/* cli_phantomeval_retrieval.c - does a picture find its caption among 50, and a caption its picture?
 *
 * Two wordings, each of which names every structure that is there: complete captions say of each
 * one where it is and how large, plain ones as often as captions for training do.  Pictures may
 * share all that a caption says, so that nobody could tell their captions apart.  Hence, beside
 * each figure, the ceiling: the same batches ranked by the facts that captions are made from.
 *
 * A caption fits a picture if it could have been written about it: all it says is true, and it
 * names exactly the structures that are there.  The chance of writing a caption about a picture it
 * fits is the same for all these pictures, so by Bayes' rule a fitting caption belongs to this one
 * with odds that grow with 1 / how many it fits, counted in the whole set: the most specific one is
 * the best guess.  Of the pictures that fit a caption none is likelier than another. */
#include <stdlib.h>
#include <string.h>
#include "models/retrieval.h"
#include "tools/cli_phantomeval.h"

static const char *const methods[PE_WORDINGS] = { "retrieval", "plain retrieval" };

static mcs_phantom_wording wording(int which)
{
    mcs_phantom_wording w = mcs_phantom_wording_defaults();
    w.single = 0;
    if (which == PE_COMPLETE)
        w.position = w.size = 1;
    return w;
}

bool pe_fits(const mcs_phantom_caption *c, const mcs_phantom_facts *f)
{
    if (!mcs_phantom_holds(c, f))
        return false;
    for (int s = 0; s < MCS_PHANTOM_STRUCTURES; s++) {
        bool named = false;
        for (int k = 0; k < c->keys; k++)
            named = named || ((int)c->key[k].structure == s && !c->key[k].absent);
        if (named != mcs_phantom_shows(f, (mcs_phantom_structure)s))
            return false;
    }
    return true;
}

/* ---- Embeddings ---- */

bool pe_pairs_reserve(pe_pairs *p, int count, int64_t width)
{
    size_t n = (size_t)count;
    p->width = width;
    p->image = calloc(n * (size_t)width, sizeof *p->image);
    p->facts = calloc(n, sizeof *p->facts);
    bool good = p->image && p->facts;
    for (int k = 0; k < PE_WORDINGS; k++) {
        p->text[k] = calloc(n * (size_t)width, sizeof *p->text[k]);
        p->said[k] = calloc(n, sizeof *p->said[k]);
        good = good && p->text[k] && p->said[k];
    }
    return good;
}

void pe_pairs_free(pe_pairs *p)
{
    free(p->image);
    free(p->facts);
    for (int k = 0; k < PE_WORDINGS; k++) {
        free(p->text[k]);
        free(p->said[k]);
    }
}

int pe_embed(pe_eval *w, const mcs_phantom *p, int i, const mcs_image *rgb)
{
    pe_pairs *out = &w->pairs;
    size_t bytes = (size_t)out->width * sizeof(float);
    const mcs_tensor *x =
        mcs_biomedclip_encode_image(w->ctx, w->clip, mcs_biomedclip_image(w->ctx, w->clip, rgb));
    if (x)
        memcpy(out->image + i * out->width, mcs_f32(x), bytes);
    out->facts[i] = p->facts;
    for (int k = 0; k < PE_WORDINGS && x; k++) {
        mcs_phantom_wording how = wording(k);
        mcs_phantom_describe(&p->facts, &how, p->index + 1, &out->said[k][i]);
        x = mcs_biomedclip_encode_caption(w->ctx, w->clip, out->said[k][i].text);
        if (x)
            memcpy(out->text[k] + i * out->width, mcs_f32(x), bytes);
    }
    if (!x)
        return cli_die(w->t, mcs_ctx_error(w->ctx), true);
    mcs_ctx_reset(w->ctx);
    return CLI_CONTINUE;
}

/* ---- Ranks ---- */

typedef struct {
    const mcs_phantom_caption *said;
    const mcs_phantom_facts *facts;
    double *weight; /* by caption: 1 / pictures it fits */
} known;

static bool also_true(const void *arg, int64_t caption, int64_t image)
{
    const known *k = arg;
    return mcs_phantom_holds(&k->said[caption], &k->facts[image]) != 0;
}

static double fit(const void *arg, int64_t caption, int64_t image)
{
    const known *k = arg;
    return pe_fits(&k->said[caption], &k->facts[image]) ? k->weight[caption] : 0;
}

static void emit_both(pe_eval *w, int wording, const char *const name[2],
                      const mcs_retrieval_result *out)
{
    for (int way = 0; way < 2; way++)
        for (int k = 0; k < 2; k++) {
            const mcs_retrieval_score *s = way ? &out->text_to_image[k] : &out->image_to_text[k];
            const pe_summary sum = { w->o->count, s->mean, s->low, s->high, s->mean };
            pe_emit(w, methods[wording], way ? "text to picture" : "picture to text", name[k],
                    &sum);
        }
}

static mcs_status measure(pe_eval *w, int wording, const known *k, mcs_error *e)
{
    static const char *const plain[] = { "top1", "top2" },
                             *const most[] = { "top1 ceiling", "top2 ceiling" },
                             *const masked[] = { "top1 masked", "top2 masked" };
    mcs_retrieval_result out;
    mcs_retrieval_pairs p = { .image = w->pairs.image,
                              .text = w->pairs.text[wording],
                              .count = w->o->count,
                              .width = w->pairs.width };
    const mcs_retrieval_opts o = { .batch = 50, .runs = 5, .k = { 1, 2 }, .ks = 2 };
    mcs_pool *pool = mcs_ctx_pool(w->ctx);
    mcs_status s = mcs_retrieval(&p, &o, pool, &out, e);
    if (s != MCS_OK)
        return s;
    emit_both(w, wording, plain, &out);
    s = mcs_retrieval_ceiling(p.count, fit, k, &o, pool, &out, e);
    if (s != MCS_OK)
        return s;
    emit_both(w, wording, most, &out);
    p.also = also_true;
    p.arg = k;
    s = mcs_retrieval(&p, &o, pool, &out, e);
    if (s == MCS_OK)
        emit_both(w, wording, masked, &out);
    return s;
}

int pe_report_retrieval(pe_eval *w)
{
    mcs_error e = { 0 };
    mcs_status s = MCS_OK;
    int n = w->o->count;
    double *weight = malloc(((size_t)n + 1) * sizeof *weight);
    if (!weight)
        return cli_error(w->t, CLI_NO_MEMORY, "out of memory");
    for (int j = 0; j < PE_WORDINGS && n >= 2 && s == MCS_OK; j++) {
        const known k = { w->pairs.said[j], w->pairs.facts, weight };
        for (int i = 0; i < n; i++) {
            int fitting = 0;
            for (int at = 0; at < n; at++)
                fitting += pe_fits(&k.said[i], &k.facts[at]);
            weight[i] = 1 / (double)fitting; /* its own picture is one of them */
        }
        s = measure(w, j, &k, &e);
    }
    free(weight);
    return s == MCS_OK ? CLI_CONTINUE : cli_die(w->t, &e, true);
}
