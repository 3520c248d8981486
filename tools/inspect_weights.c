/* inspect_weights.c - looks into checkpoints: what is in a file, is it whole, the same in another
 * format or layout, the difference of two, the values of a tensor. */
#include <string.h>
#include "tools/cli_weights.h"

#define AT(field) offsetof(iw_opts, field)
static const cli_option options[] = {
    { .kind = CLI_SECTION, .help = "info" },
    { CLI_FLAG, "summary", 's', AT(summary), NULL, 0, 0, "without the list of tensors", NULL, 0 },
    { CLI_FLAG, "json", 0, AT(json), NULL, 0, 0, "as one JSON object", NULL, 0 },

    { .kind = CLI_SECTION, .help = "verify" },
    { CLI_TEXT, "sha256", 0, AT(sha256), "HEX", 0, 0,
      "the file's SHA-256, or how it begins; that of a published SAM is known by its name", NULL,
      0 },
    { CLI_FLAG, "allow-nan", 0, AT(allow_nan), NULL, 0, 0, "NaN and infinity are no failure", NULL,
      0 },

    { .kind = CLI_SECTION, .help = "convert" },
    { CLI_TEXT, "output", 'o', AT(out), "FILE", 0, 0,
      "the .safetensors file to write (dump: .npy file of one tensor)", "out", 0 },
    { CLI_CHOICE, "dtype", 0, AT(dtype), "stored|f32|bf16|f16", 0, 0,
      "type of the floating-point weights", NULL, 0 },
    { CLI_CHOICE, "layout", 0, AT(layout), "keep|open-clip|hf|sam", 0, 0,
      "names: as they are; BiomedCLIP as open_clip or as MedCLIP-SAMv2's port; SAM as published",
      NULL, 0 },
    { CLI_TEXT, "prefix", 0, AT(prefix), "TEXT", 0, 0,
      "keep only names that begin with TEXT, and drop it from them", NULL, 0 },

    { .kind = CLI_SECTION, .help = "diff, dump" },
    { CLI_FLOAT, "tolerance", 0, AT(tolerance), "X", 0, 1e30,
      "diff: values that differ by at most X are equal", NULL, 0 },
    { CLI_INT64, "limit", 'n', AT(limit), "N", 0, 1e9, "dump: print the first N values", NULL, 0 },
    { .kind = CLI_END },
};
static const cli_option rest = { CLI_LIST, "words", 0, AT(words), "", 0, 0, "", NULL, 0 };
#undef AT

static const cli_program program = {
    .name = "inspect_weights",
    .summary = "look into, check, convert and compare checkpoints (.safetensors, .pt, .pth, .bin)",
    .usage = "info FILE...\n"
             "verify FILE... [--sha256 HEX]\n"
             "convert FILE -o OUT.safetensors [--dtype T] [--layout L] [--prefix TEXT]\n"
             "diff FILE FILE [--tolerance X]\n"
             "dump FILE NAME... [-n N] [-o OUT.npy]",
    .options = options,
    .notes = "info reads no values and prints what Python would import to load a PyTorch file; "
             "nothing in a\nfile is ever executed.  verify reads every value: exit code 4 for a "
             "malformed or unsafe file, 7 for\nNaN or infinity, 8 for a wrong hash.  diff ends "
             "with 8 when the files differ.\n",
    .rest = &rest,
};

static int many(cli *t, const iw_opts *o, int (*fn)(cli *, const iw_opts *, const char *))
{
    int worst = CLI_DONE;
    for (int i = 1; i < o->words.count; i++) {
        int code = fn(t, o, o->words.items[i]);
        if (code > worst)
            worst = code;
    }
    return worst;
}

static int work(cli *t, const iw_opts *o)
{
    int n = o->words.count;
    char *const *w = o->words.items;
    const char *command = n ? w[0] : "";
    if (!strcmp(command, "info") && n >= 2)
        return many(t, o, iw_info);
    if (!strcmp(command, "verify") && n >= 2)
        return o->sha256 && n > 2 ? cli_error(t, CLI_BAD_USAGE, "--sha256 is of one file")
                                  : many(t, o, iw_verify);
    if (!strcmp(command, "convert") && n == 2)
        return iw_convert(t, o, w[1]);
    if (!strcmp(command, "diff") && n == 3)
        return iw_diff(t, o, w[1], w[2]);
    if (!strcmp(command, "dump") && n >= 3)
        return iw_dump(t, o, w[1], w + 2, n - 2);
    return cli_error(t, CLI_BAD_USAGE,
                     "expected: info FILE..., verify FILE..., convert FILE -o OUT, diff FILE FILE, "
                     "or dump FILE NAME...; see --help");
}

int main(int argc, char **argv)
{
    cli t = { 0 };
    iw_opts o = { .limit = 8 };
    int code = cli_parse(&t, &program, &o, argc, argv);
    if (code == CLI_CONTINUE)
        code = work(&t, &o);
    cli_close(&t);
    return code;
}
