/* cli_weights_compare.c - inspect_weights verify, diff and dump: what the values are. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "tools/cli_weights.h"

float *iw_floats(mcs_checkpoint *k, const mcs_stored *t, mcs_error *e)
{
    float *x = malloc((size_t)t->numel * sizeof *x + 1);
    if (!x)
        mcs_error_set(e, MCS_ENOMEM, "%s: out of memory for '%s'", mcs_checkpoint_path(k), t->name);
    else if (mcs_checkpoint_read_f32(k, t, x, e) != MCS_OK) {
        free(x);
        x = NULL;
    }
    return x;
}

/* ---- verify ---- */

/* Published files (weights/README.md).  The digits in SAM's names are the beginning of the MD5. */
static const struct {
    const char *file, *what, *sha256;
    bool named; /* the name promises these very bytes */
} published[] = {
    { "sam_vit_b_01ec64.pth", "SAM vit_b as published",
      "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912", true },
    { "sam_vit_l_0b3195.pth", "SAM vit_l as published",
      "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622", true },
    { "sam_vit_h_4b8939.pth", "SAM vit_h as published",
      "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e", true },
    { "mobile_sam.pt", "MobileSAM as published",
      "6dbb90523a35330fedd7f1d3dfc66f995213d81b29a5ca8108dbcdd4e37d6c2f", false },
    { "medsam_vit_b.pth", "MedSAM as published",
      "34b34b78c1d18cb8c6bf84cf9c00e135d6d6c965699f3c0e31ef1bc9dcb5be74", false },
    { "lite_medsam.pth", "LiteMedSAM as published",
      "79d8c9dca6db4d69d3f905579e5250af05e859fff9c1f543e89a513c3028ce76", false },
    { "open_clip_pytorch_model.bin", "BiomedCLIP as published",
      "52cc993c5c5ff962bd0c60931874bc001e7e9b41666a385530f4a036294576be", false },
    { "open_clip_pytorch_model.bin", "BiomedCLIP as first published (replaced by its authors)",
      "8792dba76fc3a96544a87bb0f76c82167b4ba509d57c08b98b9c9266f764598b", false },
};

/* What the file is by its hash; the hash its name promises, if any, into *want. */
static const char *known_file(const char *path, const char *hex, const char **want)
{
    const char *base = strrchr(path, '/'), *what = NULL;
    base = base ? base + 1 : path;
    for (size_t i = 0; i < sizeof published / sizeof *published; i++) {
        if (!strcmp(published[i].sha256, hex))
            what = published[i].what;
        if (published[i].named && !strcmp(published[i].file, base) && !*want)
            *want = published[i].sha256;
    }
    return what;
}

static int check_hash(cli *t, const iw_opts *o, const char *path)
{
    char hex[65];
    mcs_error e = { 0 };
    const char *want = o->sha256;
    if (want &&
        (strlen(want) < 6 || strlen(want) > 64 || want[strspn(want, "0123456789abcdefABCDEF")]))
        return cli_error(t, CLI_BAD_USAGE, "--sha256: 6 to 64 hexadecimal digits, not '%s'", want);
    if (cli_sha256_file(path, hex, &e) != MCS_OK)
        return cli_die(t, &e, false);
    const char *what = known_file(path, hex, &want);
    iw_print(path);
    printf(": sha256 %s%s%s\n", hex, what ? ", " : "", what ? what : "");
    if (want && strncasecmp(hex, want, strlen(want)) != 0)
        return cli_error(t, CLI_MISMATCH,
                         "%s: SHA-256 is %s, should begin with %s: fetch the file again", path, hex,
                         want);
    return CLI_DONE;
}

static int scan(cli *t, const iw_opts *o, mcs_checkpoint *k)
{
    int64_t bad = 0;
    for (int64_t i = 0; i < mcs_checkpoint_count(k); i++) {
        mcs_error e = { 0 };
        const mcs_stored *s = mcs_checkpoint_at(k, i);
        int64_t n = 0;
        float *x = iw_floats(k, s, &e);
        if (!x)
            return cli_die(t, &e, true);
        for (int64_t j = 0; j < s->numel; j++)
            n += !isfinite(x[j]);
        free(x);
        bad += n;
        if (n)
            cli_warn(t, "%s: tensor '%s': %lld of %lld numbers are NaN or infinite",
                     mcs_checkpoint_path(k), s->name, (long long)n, (long long)s->numel);
    }
    return bad && !o->allow_nan ? CLI_NOT_FINITE : CLI_DONE;
}

int iw_verify(cli *t, const iw_opts *o, const char *path)
{
    int code = CLI_DONE;
    mcs_checkpoint *k = iw_open(t, path, &code);
    if (!k)
        return code;
    code = scan(t, o, k);
    int hash = code == CLI_DONE ? check_hash(t, o, path) : CLI_DONE;
    if (code == CLI_DONE && hash == CLI_DONE) {
        iw_print(path);
        printf(": %s, %lld tensors: ok\n", mcs_checkpoint_format(k),
               (long long)mcs_checkpoint_count(k));
    }
    mcs_checkpoint_close(k);
    return hash > code ? hash : code;
}

/* ---- diff ---- */

static bool same_shape(const mcs_stored *a, const mcs_stored *b)
{
    return a->ndim == b->ndim &&
           memcmp(a->shape, b->shape, (size_t)a->ndim * sizeof *a->shape) == 0;
}

/* NaN equals NaN, and an infinity itself. */
static bool equal(float a, float b, float tolerance)
{
    return a == b || (isnan(a) && isnan(b)) || fabsf(a - b) <= tolerance;
}

/* Prints what differs in one tensor; 0, 1 or an exit code above. */
static int diff_values(cli *t, const iw_opts *o, mcs_checkpoint *ka, const mcs_stored *a,
                       mcs_checkpoint *kb, const mcs_stored *b)
{
    mcs_error e = { 0 };
    int64_t n = 0;
    double most = 0, sum = 0;
    float *x = iw_floats(ka, a, &e), *y = x ? iw_floats(kb, b, &e) : NULL;
    for (int64_t i = 0; y && i < a->numel; i++) {
        double d = fabs((double)x[i] - (double)y[i]);
        n += !equal(x[i], y[i], o->tolerance);
        sum += isfinite(d) ? d : 0;
        most = d > most ? d : most;
    }
    free(x);
    free(y);
    if (!y)
        return cli_die(t, &e, true);
    if (n) {
        iw_print(a->name);
        printf("\t%lld of %lld differ\tmax %.6g\tmean %.6g\n", (long long)n, (long long)a->numel,
               most, sum / (double)a->numel);
    }
    return n > 0;
}

static int diff_tensor(cli *t, const iw_opts *o, mcs_checkpoint *ka, const mcs_stored *a,
                       mcs_checkpoint *kb)
{
    char x[256], y[256];
    const mcs_stored *b = mcs_checkpoint_find(kb, a->name);
    if (b && same_shape(a, b)) {
        if (a->dtype != b->dtype && t->verbose)
            cli_detail(t, "%s: %s against %s", a->name, mcs_stored_name(a->dtype),
                       mcs_stored_name(b->dtype));
        return diff_values(t, o, ka, a, kb, b);
    }
    iw_print(a->name);
    if (b)
        printf("\tshape %s against %s\n", iw_shape(a, x, sizeof x), iw_shape(b, y, sizeof y));
    else
        printf("\tonly in the first\n");
    return 1;
}

static int diff_open(cli *t, const iw_opts *o, mcs_checkpoint *ka, mcs_checkpoint *kb)
{
    int64_t differ = 0, total = mcs_checkpoint_count(ka);
    for (int64_t i = 0; i < total; i++) {
        int code = diff_tensor(t, o, ka, mcs_checkpoint_at(ka, i), kb);
        if (code > 1)
            return code;
        differ += code;
    }
    for (int64_t i = 0; i < mcs_checkpoint_count(kb); i++) {
        const char *name = mcs_checkpoint_at(kb, i)->name;
        if (mcs_checkpoint_find(ka, name))
            continue;
        iw_print(name);
        printf("\tonly in the second\n");
        differ++;
        total++;
    }
    printf("%lld of %lld tensors differ\n", (long long)differ, (long long)total);
    return differ ? CLI_MISMATCH : CLI_DONE;
}

int iw_diff(cli *t, const iw_opts *o, const char *a, const char *b)
{
    int code = CLI_DONE;
    mcs_checkpoint *ka = iw_open(t, a, &code), *kb = ka ? iw_open(t, b, &code) : NULL;
    if (kb)
        code = diff_open(t, o, ka, kb);
    mcs_checkpoint_close(ka);
    mcs_checkpoint_close(kb);
    return code;
}

/* ---- dump ---- */

static void print_values(const mcs_stored *s, const float *x, int64_t limit)
{
    char shape[256];
    double sum = 0, square = 0, low = HUGE_VAL, high = -HUGE_VAL;
    int64_t finite = 0;
    for (int64_t i = 0; i < s->numel; i++) {
        double v = (double)x[i];
        if (!isfinite(v))
            continue;
        finite++;
        sum += v;
        square += v * v;
        low = v < low ? v : low;
        high = v > high ? v : high;
    }
    iw_print(s->name);
    printf("\t%s\t%s", mcs_stored_name(s->dtype), iw_shape(s, shape, sizeof shape));
    if (finite) {
        double mean = sum / (double)finite, var = square / (double)finite - mean * mean;
        printf("\tmin %.7g max %.7g mean %.7g sd %.7g", low, high, mean, sqrt(var > 0 ? var : 0));
    }
    printf(finite < s->numel ? "\t%lld not finite\n" : "\n", (long long)(s->numel - finite));
    for (int64_t i = 0; i < s->numel && i < limit; i++)
        printf("%s%.9g", i ? " " : "", (double)x[i]);
    if (s->numel && limit)
        printf("%s\n", s->numel > limit ? " ..." : "");
}

static int dump_one(cli *t, const iw_opts *o, mcs_checkpoint *k, const char *name)
{
    mcs_error e = { 0 };
    const mcs_stored *s = mcs_checkpoint_find(k, name);
    if (!s)
        return cli_error(t, CLI_NOTHING, "%s: there is no tensor '%s'", mcs_checkpoint_path(k),
                         name);
    float *x = iw_floats(k, s, &e);
    if (x && o->out)
        (void)(cli_mkdirs_for(o->out, &e) == MCS_OK &&
               cli_write_npy(o->out, s->ndim, s->shape, x, &e) == MCS_OK);
    else if (x)
        print_values(s, x, o->limit);
    free(x);
    return e.status == MCS_OK ? CLI_DONE : cli_die(t, &e, true);
}

int iw_dump(cli *t, const iw_opts *o, const char *path, char *const *names, int count)
{
    int code = CLI_DONE;
    if (o->out && count > 1)
        return cli_error(t, CLI_BAD_USAGE, "-o takes one tensor");
    mcs_checkpoint *k = iw_open(t, path, &code);
    for (int i = 0; k && i < count && code == CLI_DONE; i++)
        code = dump_one(t, o, k, names[i]);
    mcs_checkpoint_close(k);
    return code;
}
