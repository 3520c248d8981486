/* embed.c - embeddings of pictures or texts by BiomedCLIP, as a NumPy file: float32, a row per
 * input in input order, not normalised. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "models/biomedclip.h"
#include "tools/cli_files.h"

typedef struct {
    cli_list input, prompt;
    const char *list, *text, *out, *clip, *vocab, *models;
    int fit;
    bool recursive, print_tokens, normalize;
} opts;

#define AT(field) offsetof(opts, field)
static const cli_option options[] = {
    { .kind = CLI_SECTION, .help = "Input: pictures or texts" },
    CLI_INPUT_PATHS(opts),
    { CLI_TEXT, "list", 0, AT(list), "FILE", 0, 0,
      "file of picture paths, one a line; - for standard input", NULL, 0 },
    { CLI_TEXT, "text", 0, AT(text), "FILE", 0, 0,
      "file of texts, one a line; - for standard input", NULL, 0 },
    { CLI_LIST, "prompt", 'p', AT(prompt), "TEXT", 0, 0, "a text", NULL, 0 },

    { .kind = CLI_SECTION, .help = "Model" },
    { CLI_TEXT, "clip", 0, AT(clip), "FILE", 0, 0,
      "BiomedCLIP checkpoint (.safetensors, .bin, .pt)", NULL, 0 },
    { CLI_TEXT, "vocab", 0, AT(vocab), "FILE", 0, 0,
      "vocabulary; vocab.txt beside the checkpoint if not given", NULL, 0 },
    { CLI_TEXT, "models", 0, AT(models), "DIR", 0, 0,
      "folder of the model used without --clip; else $MCS_MINI, or where it was installed", NULL,
      0 },
    { CLI_CHOICE, "clip-fit", 0, AT(fit), "crop|squash", 0, 0,
      "pictures that are not square: crop the centre as in training, or squash to a square", NULL,
      0 },

    { .kind = CLI_SECTION, .help = "Output" },
    { CLI_TEXT, "output", 'o', AT(out), "FILE.npy", 0, 0, "the embeddings", "out", 0 },
    { CLI_FLAG, "normalize", 0, AT(normalize), NULL, 0, 0, "rows of length 1", NULL, 0 },
    { CLI_FLAG, "print-tokens", 0, AT(print_tokens), NULL, 0, 0,
      "print the ids and pieces of every text; needs no --clip if --vocab is given", NULL, 0 },
    { .kind = CLI_END },
};
#undef AT

static const cli_program program = {
    .name = "embed",
    .summary = "embeddings of pictures or texts by BiomedCLIP",
    .usage = "--clip FILE -i PATH -o FILE.npy\n"
             "--clip FILE --text FILE -o FILE.npy\n"
             "--vocab FILE --text FILE --print-tokens",
    .options = options,
    .notes = "A picture that cannot be read gives a row of NaN and exit code 3.\n",
};

typedef struct {
    cli *t;
    const opts *o;
    mcs_biomedclip *model;
    mcs_ctx *ctx;
    cli_inputs pictures;
    cli_list texts;
    float *rows;
    int64_t width;
} embedder;

/* ---- Texts ---- */

/* Every line is a text, empty ones too; the end of the last line begins no further one. */
static int read_texts(embedder *w)
{
    mcs_error e = { 0 };
    size_t size, at = 0;
    for (int i = 0; i < w->o->prompt.count; i++)
        if (!cli_list_add(w->t, &w->texts, w->o->prompt.items[i]))
            return cli_error(w->t, CLI_NO_MEMORY, "out of memory");
    if (!w->o->text)
        return CLI_CONTINUE;
    char *text = cli_read_text(w->o->text, &size, &e);
    if (!text)
        return cli_error(w->t, CLI_NOTHING, "--text: %s", e.message);
    int code = CLI_CONTINUE;
    if (memchr(text, 0, size))
        code = cli_error(w->t, CLI_NOTHING, "--text: %s: contains NUL bytes", w->o->text);
    while (code == CLI_CONTINUE && at < size) {
        size_t n = strcspn(text + at, "\n"), end = at + n;
        text[end] = 0;
        if (n && text[end - 1] == '\r')
            text[end - 1] = 0;
        if (!cli_list_add(w->t, &w->texts, text + at))
            code = cli_error(w->t, CLI_NO_MEMORY, "out of memory");
        at = end + 1;
    }
    free(text);
    return code;
}

static int print_tokens(embedder *w)
{
    enum { MAX = 4096 };
    mcs_error e = { 0 };
    const mcs_wordpiece *vocab = w->model ? mcs_biomedclip_vocab(w->model) : NULL;
    mcs_wordpiece *own = vocab ? NULL : mcs_wordpiece_load(w->o->vocab, &e);
    int context = w->model ? mcs_biomedclip_get_config(w->model)->context : 256;
    int64_t *ids = malloc(MAX * sizeof *ids);
    int count;
    if (!vocab)
        vocab = own;
    bool ok = vocab && ids && context <= MAX;
    for (int i = 0; ok && i < w->texts.count; i++) {
        ok = mcs_wordpiece_encode_caption(vocab, w->texts.items[i], context, ids, &count, &e) ==
             MCS_OK;
        for (int k = 0; ok && k < count; k++)
            printf("%s%lld", k ? " " : "", (long long)ids[k]);
        for (int k = 0; ok && k < count; k++)
            printf("%c%s", k ? ' ' : '\t', mcs_wordpiece_token(vocab, ids[k]));
        if (ok)
            putchar('\n');
    }
    mcs_wordpiece_free(own);
    free(ids);
    if (e.status != MCS_OK)
        return cli_die(w->t, &e, !own);
    return ok ? CLI_CONTINUE : cli_error(w->t, CLI_NO_MEMORY, "out of memory");
}

/* ---- Rows ---- */

static mcs_tensor *picture(embedder *w, const char *path)
{
    mcs_error *e = mcs_ctx_error(w->ctx);
    int side = mcs_biomedclip_get_config(w->model)->vision.image;
    mcs_fit fit = w->o->fit ? MCS_FIT_SQUASH : MCS_FIT_CROP;
    mcs_image *im = mcs_image_read(path, e);
    mcs_tensor *x = im ? mcs_new(w->ctx, 4, MCS_SHAPE(1, 3, side, side)) : NULL;
    if (x && mcs_preprocess_clip(im, side, fit, mcs_clip_mean, mcs_clip_std, mcs_f32(x), NULL, e) !=
                 MCS_OK)
        x = NULL;
    mcs_image_free(im);
    return mcs_biomedclip_encode_image(w->ctx, w->model, x);
}

static void keep_row(const embedder *w, int64_t i, const mcs_tensor *y)
{
    float *row = w->rows + i * w->width;
    double square = 0;
    for (int64_t k = 0; k < w->width; k++)
        square += (double)mcs_f32(y)[k] * (double)mcs_f32(y)[k];
    double scale = w->o->normalize && square > 0 ? 1 / sqrt(square) : 1;
    for (int64_t k = 0; k < w->width; k++)
        row[k] = (float)((double)mcs_f32(y)[k] * scale);
}

static int fill_rows(embedder *w, int64_t count)
{
    cli_progress p;
    bool text = w->texts.count > 0;
    mcs_status last = MCS_OK;
    cli_progress_begin(&p, w->t, count, text ? "texts" : "pictures");
    for (int64_t i = 0; i < count && !cli_stop(); i++) {
        const char *what = text ? w->texts.items[i] : w->pictures.items[i].path;
        cli_progress_now(&p, what);
        const mcs_tensor *y =
            text ? mcs_biomedclip_encode_caption(w->ctx, w->model, what) : picture(w, what);
        if (y) {
            keep_row(w, i, y);
        } else {
            last = mcs_ctx_status(w->ctx);
            cli_warn(w->t, "row %lld: %s", (long long)i, mcs_ctx_message(w->ctx));
            p.failed++;
        }
        p.done++;
        mcs_ctx_reset(w->ctx);
        cli_progress_draw(&p);
    }
    cli_progress_end(&p);
    if (cli_stop())
        return CLI_SIGNALLED + cli_stop();
    if (p.failed == count)
        return last == MCS_ENOMEM ? CLI_NO_MEMORY : CLI_NOTHING;
    return p.failed ? CLI_SOME_FAILED : CLI_DONE;
}

static int embed_all(embedder *w)
{
    mcs_error e = { 0 };
    int64_t count = w->texts.count ? w->texts.count : w->pictures.count;
    w->width = mcs_biomedclip_get_config(w->model)->embed;
    w->rows = malloc((size_t)count * (size_t)w->width * sizeof *w->rows);
    if (!w->rows)
        return cli_error(w->t, CLI_NO_MEMORY, "out of memory for %lld rows", (long long)count);
    for (int64_t i = 0; i < count * w->width; i++)
        w->rows[i] = NAN;
    int code = fill_rows(w, count);
    if (code != CLI_DONE && code != CLI_SOME_FAILED)
        return code;
    if (cli_mkdirs_for(w->o->out, &e) != MCS_OK ||
        cli_write_npy(w->o->out, 2, (const int64_t[]){ count, w->width }, w->rows, &e) != MCS_OK)
        return cli_die(w->t, &e, false);
    if (!w->t->quiet && !w->o->print_tokens)
        printf("%s: %lld x %lld\n", w->o->out, (long long)count, (long long)w->width);
    return code;
}

static int find_pictures(embedder *w)
{
    mcs_error e = { 0 };
    const cli_inputs_query q = { .paths = &w->o->input,
                                 .list = w->o->list,
                                 .recursive = w->o->recursive,
                                 .keep_repeats = true };
    if (cli_inputs_find(&w->pictures, &q, &e) != MCS_OK)
        return cli_error(w->t, e.status == MCS_ENOMEM ? CLI_NO_MEMORY : CLI_NOTHING, "%s",
                         e.message);
    if (!w->pictures.count && !w->texts.count)
        return cli_error(w->t, CLI_NOTHING, "nothing to embed: no text and no picture found");
    return CLI_CONTINUE;
}

static int check_options(cli *t, const opts *o)
{
    bool text = o->text || o->prompt.count, pictures = o->input.count || o->list;
    if (text == pictures)
        return cli_error(t, CLI_BAD_USAGE,
                         "give either pictures (-i, --list) or texts (--text, -p)");
    if (!o->clip && !(o->print_tokens && o->vocab && !o->out))
        return cli_error(t, CLI_BAD_USAGE, "no model: give --clip FILE");
    if (!o->out && !o->print_tokens)
        return cli_error(t, CLI_BAD_USAGE, "no output: give -o FILE.npy");
    if (o->print_tokens && !text)
        return cli_error(t, CLI_BAD_USAGE, "--print-tokens is for texts: give --text or -p");
    return CLI_CONTINUE;
}

static int work(embedder *w)
{
    mcs_error e = { 0 };
    int code = read_texts(w);
    if (code == CLI_CONTINUE)
        code = find_pictures(w);
    if (code == CLI_CONTINUE && w->t->dry_run) {
        cli_info(w->t, "would embed %lld inputs", (long long)(w->texts.count + w->pictures.count));
        return CLI_DONE;
    }
    if (code == CLI_CONTINUE && w->o->clip) {
        w->model = mcs_biomedclip_load(w->o->clip, w->o->vocab, &e);
        code = w->model ? CLI_CONTINUE : cli_die(w->t, &e, true);
    }
    if (code == CLI_CONTINUE && w->o->print_tokens)
        code = print_tokens(w);
    if (code != CLI_CONTINUE || !w->o->out)
        return code == CLI_CONTINUE ? CLI_DONE : code;
    w->ctx = cli_context(w->t, false, &code);
    return w->ctx ? embed_all(w) : code;
}

static const char *shipped(cli *t, const opts *o)
{
    const char *clip = cli_shipped(t, o->models, "clip.safetensors");
    if (clip)
        cli_warn(t, "%s", cli_shipped_notice);
    return clip;
}

int main(int argc, char **argv)
{
    cli t = { 0 };
    opts o = { 0 };
    int code = cli_parse(&t, &program, &o, argc, argv);
    if (code == CLI_CONTINUE && !o.clip && !o.vocab)
        o.clip = shipped(&t, &o);
    if (code == CLI_CONTINUE)
        code = check_options(&t, &o);
    if (code == CLI_CONTINUE) {
        embedder w = { .t = &t, .o = &o };
        cli_signals();
        code = work(&w);
        cli_inputs_free(&w.pictures);
        mcs_biomedclip_free(w.model);
        mcs_ctx_free(w.ctx);
        free(w.rows);
    }
    cli_close(&t);
    return code;
}
