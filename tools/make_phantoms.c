/* make_phantoms.c - a synthetic, seeded data set of three kinds of pictures with captions, prompts
 * and exact masks. */
#include <stdio.h>
#include <string.h>
#include "tools/cli_phantoms.h"

#define AT(field) offsetof(ph_options, field)
static const cli_option options[] = {
    { .kind = CLI_SECTION, .help = "What" },
    { CLI_INT64, "count", 'n', AT(count), "N", 1, 10000000, "phantoms", NULL, CLI_RESULT },
    { CLI_INT, "size", 0, AT(size), "PX", MCS_PHANTOM_SIZE_MIN, MCS_PHANTOM_SIZE_MAX,
      "side of the pictures", NULL, CLI_RESULT },
    { CLI_TEXT, "kinds", 0, AT(kinds), "LIST", 0, 0,
      "ultrasound, mri, xray, separated by commas, in turn", NULL, CLI_RESULT },
    { CLI_FLAG, "healthy", 0, AT(healthy), NULL, 0, 0,
      "keep phantoms in which nothing can be asked for; with --no-healthy others take their place",
      NULL, CLI_RESULT },
    { CLI_TEXT, "views", 0, AT(views), "LIST", 0, 0,
      "further pictures of each phantom: crops, spotlight, or both; mixed: instead of each phantom "
      "a view of it, cropped, with all but one structure dimmed, or neither, for training",
      NULL, CLI_RESULT },
    { CLI_FLOAT, "crops", 0, AT(crops), "X", 0, 1, "share of mixed views that are crops", NULL,
      CLI_RESULT },
    { CLI_FLOAT, "spotlights", 0, AT(spotlights), "X", 0, 1,
      "share of mixed views with all but one structure dimmed", NULL, CLI_RESULT },
    { CLI_CHOICE, "unlit", 0, AT(unlit), "open|absent", 0, 0,
      "what a spotlight leaves in the dark: neither to be named nor denied, or not there for "
      "captions that name it",
      NULL, CLI_RESULT },
    { CLI_INT, "captions", 0, AT(captions), "N", 1, 20, "captions per picture", NULL, CLI_RESULT },
    { CLI_FLOAT, "complete", 0, AT(complete), "X", 0, 1,
      "share of captions that name every structure with its place and size", NULL, CLI_RESULT },

    { .kind = CLI_SECTION, .help = "Output" },
    { CLI_TEXT, "output", 'o', AT(out), "DIR", 0, 0, "folder of the data set", "out", 0 },
    { CLI_FLAG, "masks", 0, AT(masks), NULL, 0, 0,
      "write masks; with --no-masks pictures and captions only", NULL, 0 },
    { CLI_TEXT, "montage", 0, AT(montage), "FILE.png", 0, 0,
      "contact sheet of the first pictures with outlines of the structures", NULL, 0 },
    { CLI_TEXT, "vocab", 0, AT(vocab), "FILE.txt", 0, 0,
      "WordPiece vocabulary of all words that captions and prompts use, for a model of its own",
      NULL, 0 },
    { CLI_INT, "columns", 0, AT(columns), "N", 1, 64, "columns of the contact sheet", NULL, 0 },
    { CLI_FLAG, "stats", 0, AT(stats), NULL, 0, 0,
      "print what the phantoms are like: contrast, areas, what brightness alone could find", NULL,
      0 },
    { .kind = CLI_END },
};
#undef AT

static const cli_program program = {
    .name = "make_phantoms",
    .summary = "a synthetic, seeded, three-modality data set with captions and masks",
    .usage = "-o DIR --count N --seed S --size 224\n"
             "--montage FILE.png --count 30\n"
             "--stats --count 3000",
    .options = options,
    .notes =
        "images/           the pictures, PNG, 8-bit grey\n"
        "masks/            the structure that prompts.json asks for, 0 and 255, same names\n"
        "masks_other/      a second structure of the same picture: prompts_other.json\n"
        "structures/NAME/  every structure's mask; structures.json: a prompt for each name\n"
        "captions.csv      filename, caption, group (what the caption states), kind, facts (all\n"
        "                  that is true of the picture: what a caption may say of it)\n"
        "Structures take turns as the one asked for.  Pictures with none to ask for have a black\n"
        "mask and are left out of prompts.json.  Left and right are those of the picture.\n"
        "The same seed gives the same bytes; a larger --count continues the same set, as does the\n"
        "same command after an interruption.  Phantoms are no patients.\n",
};

static bool add_kind(ph_job *j, mcs_phantom_kind k)
{
    for (int i = 0; i < j->kinds; i++)
        if (j->kind[i] == k)
            return false;
    j->kind[j->kinds++] = k;
    return true;
}

/* The words of a list separated by commas. */
static int parse_list(ph_job *j, const char *flag, const char *text, bool views)
{
    while (*text) {
        size_t n = strcspn(text, ",");
        bool known = false;
        for (int k = 0; k < MCS_PHANTOM_KINDS && !views; k++) {
            const char *name = mcs_phantom_kind_name((mcs_phantom_kind)k);
            if (strlen(name) == n && !strncmp(name, text, n))
                known = add_kind(j, (mcs_phantom_kind)k);
        }
        if (views &&
            ((n == 5 && !strncmp(text, "crops", n)) || (n == 4 && !strncmp(text, "crop", n))))
            known = j->view[PH_CROP] = true;
        if (views && n == 9 && !strncmp(text, "spotlight", n))
            known = j->view[PH_SPOTLIGHT] = true;
        if (views && n == 5 && !strncmp(text, "mixed", n))
            known = j->view[PH_MIXED] = true;
        if (!known)
            return cli_error(j->t, CLI_BAD_USAGE, "--%s: '%.*s': expected %s", flag, (int)n, text,
                             views ? "crops, spotlight or mixed"
                                   : "ultrasound, mri or xray, once each");
        text += n + (text[n] == ',');
    }
    return CLI_CONTINUE;
}

static int work(ph_job *j)
{
    const ph_options *o = j->o;
    int code = parse_list(j, "kinds", o->kinds, false);
    if (code == CLI_CONTINUE)
        code = parse_list(j, "views", o->views ? o->views : "", true);
    if (code != CLI_CONTINUE)
        return code;
    j->view[PH_WHOLE] = !j->view[PH_MIXED];
    for (int v = 0; v < PH_VIEWS; v++)
        j->per_phantom += j->view[v];
    if (!j->kinds)
        return cli_error(j->t, CLI_BAD_USAGE, "--kinds: none given");
    if (!o->out && !o->montage && !o->vocab && !o->stats)
        return cli_error(j->t, CLI_BAD_USAGE,
                         "no output: give -o DIR, --montage FILE, "
                         "--vocab FILE or --stats");
    if (j->t->dry_run) {
        cli_info(j->t, "would make %lld pictures", (long long)(o->count * j->per_phantom));
        return CLI_DONE;
    }
    mcs_ctx *ctx = cli_context(j->t, false, &code);
    if (!ctx)
        return code;
    j->pool = mcs_ctx_pool(ctx);
    code = o->stats ? ph_stats(j) : CLI_DONE;
    if (code == CLI_DONE && o->vocab)
        code = ph_vocabulary(j);
    if (code == CLI_DONE && o->montage)
        code = ph_montage(j);
    if (code == CLI_DONE && o->out)
        code = ph_write_all(j);
    mcs_ctx_free(ctx);
    return code;
}

int main(int argc, char **argv)
{
    cli t = { 0 };
    ph_options o = { .count = 300,
                     .size = 224,
                     .kinds = "ultrasound,mri,xray",
                     .healthy = true,
                     .masks = true,
                     .captions = 1,
                     .crops = mcs_phantom_view_defaults().crop,
                     .spotlights = mcs_phantom_view_defaults().spotlight,
                     .columns = 6 };
    int code = cli_parse(&t, &program, &o, argc, argv);
    if (code == CLI_CONTINUE) {
        ph_job j = { .t = &t, .o = &o };
        cli_signals();
        code = work(&j);
    }
    cli_close(&t);
    return code;
}
