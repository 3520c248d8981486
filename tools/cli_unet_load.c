/* cli_unet_load.c - the nets of predict_unet: one, or several whose probabilities are averaged. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tools/cli_unet_predict.h"

static bool is_state(const char *path)
{
    static const char tail[] = ".state.safetensors";
    size_t n = strlen(path), m = sizeof tail - 1;
    return n > m && strcmp(path + n - m, tail) == 0;
}

/* What a net of another program is taken to be. */
static un_notes assumed(const mcs_unet *m)
{
    const mcs_unet_config *c = mcs_unet_get_config(m);
    int classes = c->classes == 1 ? 1 : c->classes - 1;
    un_notes n = { .side = 256, .classes = classes };
    for (int i = 0; i < classes && i < UN_CLASSES_MAX; i++)
        n.value[i] = classes == 1 ? 255 : i + 1;
    return n;
}

static int load_one(up_run *r, const char *path, un_notes *notes)
{
    mcs_error e = { 0 };
    mcs_checkpoint *k = mcs_checkpoint_open(path, &e);
    mcs_unet *m = k ? mcs_unet_read(k, NULL, &e) : NULL;
    int code = m ? CLI_CONTINUE : cli_die(r->t, &e, true);
    if (!m && k && e.status == MCS_ENOTFOUND)
        code = CLI_BAD_MODEL; /* a file, but of another model */
    if (m) {
        r->nets[r->count++] = m;
        *notes = assumed(m);
        if (!un_notes_read(mcs_checkpoint_meta(k, UN_NOTES), notes) && !r->o->side)
            cli_warn(r->t,
                     "%s: does not say how it was trained; %d x %d pixels are assumed (--size)",
                     path, notes->side, notes->side);
        if (notes->classes != assumed(m).classes || notes->classes > UN_CLASSES_MAX)
            code =
                cli_error(r->t, CLI_BAD_MODEL, "%s: its layout and its notes do not agree", path);
    }
    mcs_checkpoint_close(k);
    return code;
}

/* Nets that are averaged must mean the same. */
static int check_same(const up_run *r, const char *path, const un_notes *n)
{
    const mcs_unet_config *a = mcs_unet_get_config(r->nets[0]);
    const mcs_unet_config *b = mcs_unet_get_config(r->nets[r->count - 1]);
    bool same = a->in_channels == b->in_channels && a->classes == b->classes &&
                n->side == r->notes.side && n->input == r->notes.input;
    for (int i = 0; same && i < n->classes; i++)
        same = n->value[i] == r->notes.value[i];
    return same ? CLI_CONTINUE
                : cli_error(r->t, CLI_BAD_MODEL,
                            "%s: has other classes, channels or size than %s: they cannot be "
                            "averaged",
                            path, r->o->weights.items[0]);
}

static int check_view(up_run *r)
{
    const up_opts *o = r->o;
    r->view = (mcs_unet_view){ .kind = o->inference == UP_AUTO      ? r->notes.input
                                       : o->inference == UP_SLIDING ? MCS_UNET_SLIDING
                                                                    : MCS_UNET_RESIZE,
                               .side = o->side ? o->side : r->notes.side,
                               .overlap = o->overlap,
                               .flips = o->flips };
    for (int i = 0; i < r->count; i++) {
        int multiple = mcs_unet_multiple(mcs_unet_get_config(r->nets[i]));
        if (r->view.side % multiple || r->view.side < 2 * multiple)
            return cli_error(r->t, CLI_BAD_USAGE,
                             "--size: %d is not a multiple of %d, at least %d, as the net needs",
                             r->view.side, multiple, 2 * multiple);
    }
    return CLI_CONTINUE;
}

int up_load(up_run *r, json_t **weights)
{
    mcs_error e = { 0 };
    const cli_list *files = &r->o->weights;
    *weights = json_object();
    r->nets = calloc((size_t)files->count + 1, sizeof *r->nets);
    if (!*weights || !r->nets)
        return cli_error(r->t, CLI_NO_MEMORY, "out of memory");
    for (int i = 0; i < files->count; i++) {
        un_notes notes;
        char role[40];
        if (is_state(files->items[i]))
            continue; /* epoch_*.safetensors names them, too */
        int code = load_one(r, files->items[i], &notes);
        if (code == CLI_CONTINUE && r->count == 1)
            r->notes = notes;
        if (code == CLI_CONTINUE)
            code = check_same(r, files->items[i], &notes);
        if (code != CLI_CONTINUE)
            return code;
        json_t *file = cli_job_file(files->items[i], &e);
        if (!file)
            return cli_die(r->t, &e, true);
        snprintf(role, sizeof role, "unet%d", r->count);
        json_object_set_new(*weights, role, file);
    }
    if (!r->count)
        return cli_error(r->t, CLI_BAD_USAGE, "--weights: none of the files holds weights");
    r->planes = mcs_unet_planes(mcs_unet_get_config(r->nets[0]));
    cli_detail(r->t, "%d nets", r->count);
    return check_view(r);
}
