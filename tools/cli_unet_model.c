/* cli_unet_model.c - the UNet that is trained: new, or from a checkpoint; its loss; the optimiser. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "tools/cli_unet.h"

bool un_parse_channels(const char *text, mcs_unet_config *c)
{
    c->levels = 0;
    for (;;) {
        char *end;
        long v = strtol(text, &end, 10);
        if (end == text || v < 1 || v > 65536 || c->levels == MCS_UNET_MAX_LEVELS ||
            (*end && *end != ','))
            return false;
        c->channels[c->levels] = (int)v;
        c->strides[c->levels++] = 2;
        if (!*end)
            return c->levels >= 2;
        text = end + 1;
    }
}

/* One of "dice", "bce" (or "ce") and "focal", with or without "0.5*" before it. */
static bool parse_term(const char *text, size_t n, mcs_unet_loss *loss)
{
    char *end;
    double weight = strtod(text, &end);
    bool scaled = end != text && *end == '*' && end < text + n;
    const char *name = scaled ? end + 1 : text;
    size_t length = n - (size_t)(name - text);
    if (!scaled)
        weight = 1;
    if (!(weight > 0 && weight < 1e6))
        return false;
    if (length == 4 && memcmp(name, "dice", 4) == 0)
        loss->dice = (float)weight;
    else if ((length == 3 && memcmp(name, "bce", 3) == 0) ||
             (length == 2 && memcmp(name, "ce", 2) == 0))
        loss->bce = (float)weight;
    else if (length == 5 && memcmp(name, "focal", 5) == 0)
        loss->focal = (float)weight;
    else
        return false;
    return true;
}

bool un_parse_loss(const char *text, mcs_unet_loss *loss)
{
    *loss = (mcs_unet_loss){ .smooth = loss->smooth };
    for (;;) {
        size_t n = strcspn(text, "+");
        if (!parse_term(text, n, loss))
            return false;
        if (!text[n])
            return true;
        text += n + 1;
    }
}

/* ---- The model ---- */

static int wanted(const un_run *r, mcs_unet_config *c)
{
    static const mcs_unet_norm norms[] = { MCS_UNET_INSTANCE, MCS_UNET_INSTANCE_AFFINE,
                                           MCS_UNET_BATCH, MCS_UNET_NO_NORM };
    mcs_error e = { 0 };
    const un_opts *o = r->o;
    *c = mcs_unet_defaults();
    c->in_channels = o->in_channels ? 1 : 3;
    c->classes = r->train.kind.classes == 1 ? 1 : r->train.kind.classes + 1;
    c->norm = norms[o->norm];
    c->res_units = o->res_units;
    c->dropout = o->dropout;
    if (!un_parse_channels(o->channels, c))
        return cli_error(r->t, CLI_BAD_USAGE,
                         "--channels: '%s' is not a list of 2 to %d numbers, as 16,32,64,128,256",
                         o->channels, MCS_UNET_MAX_LEVELS);
    return mcs_unet_check(c, &e) == MCS_OK ? CLI_CONTINUE
                                           : cli_error(r->t, CLI_BAD_USAGE, "%s", e.message);
}

/* A checkpoint must fit the data and the side. */
static int check_model(const un_run *r, const mcs_unet_config *want)
{
    const mcs_unet_config *c = mcs_unet_get_config(r->model);
    int multiple = mcs_unet_multiple(c), side = r->notes.side;
    if (c->classes != want->classes || c->in_channels != want->in_channels)
        return cli_error(r->t, CLI_BAD_USAGE,
                         "%s: has %d classes and %d input channels, the masks and --colour ask for "
                         "%d and %d",
                         r->o->pretrained ? r->o->pretrained : "the checkpoint", c->classes,
                         c->in_channels, want->classes, want->in_channels);
    if (side % multiple || side < 2 * multiple)
        return cli_error(r->t, CLI_BAD_USAGE,
                         "--size: %d is not a multiple of %d (with %d levels of the net), at least "
                         "%d",
                         side, multiple, c->levels, 2 * multiple);
    return CLI_CONTINUE;
}

/* A new net begins with the odds of the data (Lin et al. 2017, focal loss, sec. 3.3).  The last layer
 * of MONAI's UNet adds little to a normalised map: its bias would otherwise need thousands of steps
 * to say that most of a picture is background. */
static void begin_with_odds(const un_run *r)
{
    int classes = mcs_unet_get_config(r->model)->classes;
    const double *share = r->train.share;
    for (int64_t i = mcs_params_count(r->run.params); i-- > 0;) {
        mcs_param_entry p = mcs_params_at(r->run.params, i);
        size_t n = strlen(p.name);
        if (p.buffer || n < 5 || strcmp(p.name + n - 5, ".bias") != 0)
            continue;
        for (int k = 0; mcs_numel(p.tensor) == classes && k < classes; k++)
            mcs_f32(p.tensor)[k] =
                classes == 1 ? logf((float)fmax(share[1], 1e-4) / (float)fmax(1 - share[1], 1e-4))
                             : logf((float)fmax(share[k], 1e-4));
        return;
    }
}

static int make_optimizer(un_run *r)
{
    const un_opts *o = r->o;
    if (o->optimizer == UN_ADAMW)
        return cli_run_adamw(&r->run);
    r->run.optim =
        mcs_sgd_new(r->run.params, &(mcs_sgd_opts){ o->momentum, o->run.wd, o->momentum > 0 });
    return r->run.optim ? CLI_CONTINUE
                        : cli_error(r->t, CLI_NO_MEMORY, "out of memory for the optimiser");
}

int un_model_make(un_run *r)
{
    mcs_error e = { 0 };
    mcs_unet_config c;
    const char *from = "";
    int code = cli_run_find(&r->run, &from);
    bool resumes = code == CLI_CONTINUE && *from;
    if (code == CLI_CONTINUE)
        code = wanted(r, &c);
    if (code != CLI_CONTINUE)
        return code;
    if (!resumes && r->o->pretrained)
        from = r->o->pretrained;
    r->model = *from ? mcs_unet_load(from, &c, &e) : mcs_unet_new(&c, &e);
    if (!r->model)
        return cli_die(r->t, &e, *from != 0);
    r->run.model = r;
    r->run.params = mcs_unet_params(r->model);
    code = check_model(r, &c);
    if (code == CLI_CONTINUE && !*from &&
        mcs_params_init(r->run.params, (uint64_t)r->t->seed) != MCS_OK)
        code = cli_die(r->t, mcs_params_error(r->run.params), false);
    if (code == CLI_CONTINUE && !*from)
        begin_with_odds(r);
    if (code == CLI_CONTINUE && mcs_params_train(r->run.params, "", true) != MCS_OK)
        code = cli_die(r->t, mcs_params_error(r->run.params), false);
    if (code == CLI_CONTINUE)
        code = cli_run_freeze(&r->run);
    if (code == CLI_CONTINUE)
        code = make_optimizer(r);
    return code == CLI_CONTINUE && resumes ? cli_run_load(&r->run, from) : code;
}
