/* cam_any.c - one map of BiomedCLIP for cams.py.
 *   cam_any CHECKPOINT METHOD LAYER < floats > floats
 * Input: the normalised picture (3,S,S); a text (E), normalised; then what the method was given there:
 *   m2ib: beta, lr, steps, samples, noise (steps, samples, tokens, C)
 *   rise: keep, masks, grid, centred, cells (masks, grid, grid), offsets (masks, 2)
 *   scan: radius;  gscorecam: k, scale;  gradcam...: scale.
 * Output: the map (grid, grid); processor seconds on stderr. */
#define PROGRAM "cam_any"
#include "tests/parity/cam_model.h"

static mcs_tensor *by_m2ib(const job *j)
{
    const float *g = j->given;
    mcs_m2ib_opts o = { g[0], g[1], (int)g[2], (int)g[3], 0, g + 4 };
    return mcs_m2ib(mcs_cam_new(j->c, &j->model, j->image), j->text, &o, NULL);
}

static mcs_tensor *by_rise(const job *j)
{
    const float *g = j->given;
    mcs_rise_opts o = { .keep = g[0], .masks = (int)g[1], .grid = (int)g[2], .centred = g[3] > 0 };
    int cells = o.masks * o.grid * o.grid;
    uint8_t *ones = malloc((size_t)cells);
    int *offsets = malloc(2 * (size_t)o.masks * sizeof *offsets);
    if (!ones || !offsets)
        return NULL;
    for (int i = 0; i < cells; i++)
        ones[i] = g[4 + i] > 0;
    for (int i = 0; i < 2 * o.masks; i++)
        offsets[i] = (int)g[4 + cells + i];
    o.cells = ones;
    o.offsets = offsets;
    mcs_tensor *map = mcs_rise(j->c, &j->model, &o, j->image, j->text, NULL);
    free(ones);
    free(offsets);
    return map;
}

static mcs_tensor *by_relevance(const job *j)
{
    static char names[64][48];
    const char *list[64];
    for (int i = 0; i < j->depth && i < 64; i++) {
        snprintf(names[i], sizeof names[i], "visual.trunk.blocks.%d.attn.probs", i);
        list[i] = names[i];
    }
    return mcs_relevance(j->c, &j->model, list, j->depth, j->image, j->text, NULL);
}

static mcs_tensor *by_method(const job *j, const char *how)
{
    static const char *const gradient[] = { "gradcam", "gradcam++", "xgradcam", "layercam" };
    mcs_cam_opts o = { .at = MCS_CAM_AT_PATCH };
    if (!strcmp(how, "relevance"))
        return by_relevance(j);
    if (!strcmp(how, "rise"))
        return by_rise(j);
    if (!strcmp(how, "m2ib"))
        return by_m2ib(j);
    if (!strcmp(how, "scan"))
        return mcs_keep_scan(j->c, &j->model, j->given, 1, 0, j->image, j->text);
    mcs_cam *cam = mcs_cam_new(j->c, &j->model, j->image);
    if (!strcmp(how, "eigencam"))
        return mcs_eigencam(cam, NULL);
    o.scale = j->given[0];
    for (int k = 0; k < 4; k++)
        if (!strcmp(how, gradient[k]))
            return mcs_gradcam(cam, (mcs_gradcam_kind)k, j->text, &o, NULL);
    o.top_k = (int)j->given[1];
    return !strcmp(how, "scorecam") ? mcs_scorecam(cam, j->text, &o, NULL)
                                    : mcs_gscorecam(cam, j->text, &o, NULL);
}

int main(int argc, char **argv)
{
    if (argc != 4)
        die("usage: cam_any CHECKPOINT METHOD LAYER");
    job j = begin(argv[1], argv[3], 1);
    double start = seconds(CLOCK_PROCESS_CPUTIME_ID);
    mcs_tensor *map = by_method(&j, argv[2]);
    double taken = seconds(CLOCK_PROCESS_CPUTIME_ID) - start;
    answer(&j, map);
    fprintf(stderr, "%.1f s\n", taken);
    end(&j);
    return 0;
}
