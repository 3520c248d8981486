/* make_untrained.c - a small pair of models with the structure of BiomedCLIP and SAM and random
 * weights, a vocabulary and a picture: for demos, tests and measurements of the machinery.  What
 * such models find means nothing. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "models/biomedclip.h"
#include "models/sam.h"
#include "tools/cli_files.h"

typedef struct {
    const char *out;
    int size, layout;
} opts;

#define AT(field) offsetof(opts, field)
static const cli_option options[] = {
    { .kind = CLI_SECTION, .help = "Output" },
    { CLI_TEXT, "output", 'o', AT(out), "DIR", 0, 0, "folder; made if needed", "out", 0 },
    { CLI_INT, "size", 0, AT(size), "PX", 32, 4096, "side of the picture", NULL, 0 },
    { CLI_CHOICE, "layout", 0, AT(layout), "small|published", 0, 0,
      "sizes of the models: small ones, or ViT-B/16 with BERT-base and SAM ViT-B (1.2 GB)", NULL,
      0 },
    { .kind = CLI_END },
};
#undef AT

static const cli_program program = {
    .name = "make_untrained",
    .summary =
        "a small untrained pair of models, a vocabulary and a picture, for trying things out",
    .usage = "-o DIR [--seed N]",
    .options = options,
    .notes = "Writes clip.safetensors, vocab.txt, sam.safetensors, picture.png and truth.png.\n"
             "The same seed gives the same bytes.\n",
};

static mcs_biomedclip_config small_clip(void)
{
    mcs_biomedclip_config c = mcs_biomedclip_published();
    c.vision = (mcs_vit_config){
        .image = 96, .patch = 8, .dim = 64, .depth = 3, .heads = 4, .mlp_dim = 128
    };
    c.text.vocab = 512;
    c.text.positions = 64;
    c.text.dim = 64;
    c.text.depth = 2;
    c.text.heads = 4;
    c.text.mlp_dim = 128;
    c.text_hidden = 48;
    c.embed = 32;
    c.context = 64;
    return c;
}

static mcs_sam_config small_sam(void)
{
    return (mcs_sam_config){
        .image = 256,
        .vit = { .patch = 16,
                 .dim = 64,
                 .depth = 4,
                 .heads = 4,
                 .mlp_dim = 128,
                 .window = 7,
                 .global_blocks = 1u << 1 | 1u << 3 },
        .decoder = { .dim = 64,
                     .depth = 2,
                     .heads = 8,
                     .mlp_dim = 128,
                     .cross_dim = 32,
                     .mask_tokens = 4,
                     .iou_depth = 3,
                     .iou_dim = 64,
                     .mask_channels = 16 },
    };
}

/* Specials, punctuation, and letters and digits alone and as continuations: any text in Latin
 * letters can be spelt. */
static mcs_status write_vocab(const char *path, mcs_error *e)
{
    cli_html text = { 0 };
    cli_html_raw(&text, "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n");
    for (int c = 33; c < 127; c++)
        if (c < 'A' || c > 'Z')
            cli_html_rawf(&text, "%c\n", c);
    for (int c = '0'; c <= 'z'; c++)
        if (c <= '9' || c >= 'a')
            cli_html_rawf(&text, "##%c\n", c);
    cli_html_raw(&text, "medical\nultrasound\nimage\nshowing\nbreast\ntumor\nmass\ncyst\nbrain\n");
    return cli_html_save(&text, "", path, e);
}

static mcs_status write_clip(const char *path, uint64_t seed, bool published, mcs_error *e)
{
    const mcs_biomedclip_config c = published ? mcs_biomedclip_published() : small_clip();
    mcs_biomedclip *m = mcs_biomedclip_new(&c, e);
    mcs_status s = m ? mcs_params_init(mcs_biomedclip_params(m), seed) : e->status;
    if (s == MCS_OK)
        s = mcs_biomedclip_save(m, path, MCS_CLIP_OPEN_CLIP, MCS_ST_F32, e);
    mcs_biomedclip_free(m);
    return s;
}

static mcs_status write_sam(const char *path, uint64_t seed, bool published, mcs_error *e)
{
    mcs_sam_config c = small_sam();
    mcs_status s = published ? mcs_sam_config_of("vit_b", &c, e) : MCS_OK;
    mcs_sam *m = s == MCS_OK ? mcs_sam_new(&c, e) : NULL;
    s = m ? mcs_params_init(mcs_sam_params(m), seed) : e->status;
    if (s == MCS_OK)
        s = mcs_sam_save(m, path, MCS_ST_F32, e);
    mcs_sam_free(m);
    return s;
}

/* ---- The picture: speckle, layers, and a dark ellipse with a bright rim ---- */

static uint32_t next(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(*state >> 33);
}

static double brightness(double x, double y, double r)
{
    double v = 0.45 - 0.25 * y + 0.12 * sin(14 * y + 1.5 * sin(3 * x));
    if (r < 1)
        v = 0.08 + 0.05 * sin(9 * x);
    else if (r < 1.25)
        v += 0.3 * (1.25 - r) / 0.25;
    return v;
}

static mcs_status draw(const char *picture, const char *truth, int size, uint64_t seed,
                       mcs_error *e)
{
    int width = size + size / 3;
    mcs_image *im = mcs_image_new(width, size, 1, 8), *gt = mcs_image_new(width, size, 1, 8);
    uint64_t state = seed * 2 + 1;
    mcs_status s = MCS_OK;
    for (int y = 0; im && gt && y < size; y++)
        for (int x = 0; x < width; x++) {
            double u = (double)x / size, v = (double)y / size;
            double dx = (u - 0.8) / 0.24, dy = (v - 0.45) / 0.17, r = sqrt(dx * dx + dy * dy);
            double speckle = 0.55 + 0.9 * (next(&state) % 1000) / 1000.0;
            double value = 255 * brightness(u, v, r) * speckle;
            size_t i = (size_t)y * (size_t)width + (size_t)x;
            ((uint8_t *)im->data)[i] = (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
            ((uint8_t *)gt->data)[i] = r < 1 ? 255 : 0;
        }
    if (!im || !gt)
        s = mcs_error_set(e, MCS_ENOMEM, "out of memory");
    if (s == MCS_OK)
        s = mcs_png_write(picture, im, e);
    if (s == MCS_OK)
        s = mcs_png_write(truth, gt, e);
    mcs_image_free(im);
    mcs_image_free(gt);
    return s;
}

static int work(cli *t, const opts *o)
{
    mcs_error e = { 0 };
    uint64_t seed = (uint64_t)t->seed;
    if (!o->out)
        return cli_error(t, CLI_BAD_USAGE, "no output folder: give -o DIR");
    const char *clip = cli_keep_path(t, o->out, "clip.safetensors");
    const char *vocab = cli_keep_path(t, o->out, "vocab.txt");
    const char *sam = cli_keep_path(t, o->out, "sam.safetensors");
    const char *picture = cli_keep_path(t, o->out, "picture.png");
    const char *truth = cli_keep_path(t, o->out, "truth.png");
    if (!clip || !vocab || !sam || !picture || !truth)
        return cli_error(t, CLI_NO_MEMORY, "out of memory");
    if (t->dry_run)
        return CLI_DONE;
    if (cli_mkdirs(o->out, &e) != MCS_OK || write_vocab(vocab, &e) != MCS_OK ||
        write_clip(clip, seed, o->layout, &e) != MCS_OK ||
        write_sam(sam, seed, o->layout, &e) != MCS_OK ||
        draw(picture, truth, o->size, seed, &e) != MCS_OK)
        return cli_die(t, &e, false);
    if (!t->quiet)
        printf("%s\n", o->out);
    return CLI_DONE;
}

int main(int argc, char **argv)
{
    cli t = { 0 };
    opts o = { .size = 240 };
    int code = cli_parse(&t, &program, &o, argc, argv);
    if (code == CLI_CONTINUE)
        code = work(&t, &o);
    cli_close(&t);
    return code;
}
