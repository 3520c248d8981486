/* cli_masks.c - reading a file of masks as numbers. */
#include "tools/cli_masks.h"
#include <stdio.h>
#include <stdlib.h>
#include "image/image.h"

enum { VALUES = 65536 };

char *cli_mask_find(const char *folder, const cli_input *in)
{
    static const char *const endings[] = { ".png", "_mask.png", ".PNG", ".jpg", ".jpeg" };
    for (int i = 0; i < 5; i++) {
        char *path = cli_join(folder, in->stem, endings[i]);
        if (path && cli_exists(path))
            return path;
        free(path);
    }
    char *path = cli_join(folder, in->rel, "");
    if (path && cli_exists(path))
        return path;
    free(path);
    return NULL;
}

static bool is_jpeg(const char *path)
{
    FILE *f = fopen(path, "rb");
    bool yes = f && getc(f) == 0xFF && getc(f) == 0xD8;
    if (f)
        fclose(f);
    return yes;
}

mcs_status cli_grid_read(const char *path, cli_grid *g, mcs_error *e)
{
    mcs_image *im = mcs_image_read(path, e);
    mcs_image *grey = im && im->channels != 1 ? mcs_image_to_grey(im, e) : NULL;
    const mcs_image *use = grey ? grey : im && im->channels == 1 ? im : NULL;
    mcs_status s = use ? MCS_OK : e->status;
    size_t n = use ? (size_t)use->width * (size_t)use->height : 0;
    *g = (cli_grid){ 0 };
    if (use)
        *g = (cli_grid){ use->width,   use->height,   use->depth == 16 ? 65535 : 255,
                         im->channels, is_jpeg(path), malloc(n * sizeof *g->value + 1) };
    if (use && !g->value)
        s = mcs_error_set(e, MCS_ENOMEM, "%s: out of memory", path);
    for (size_t i = 0; s == MCS_OK && i < n; i++)
        g->value[i] =
            use->depth == 16 ? ((const uint16_t *)use->data)[i] : ((const uint8_t *)use->data)[i];
    mcs_image_free(im);
    mcs_image_free(grey);
    return s;
}

int cli_grid_labels(const cli_grid *g, int *list, int most)
{
    int count = 0;
    uint8_t *seen = calloc(VALUES, 1);
    if (!seen)
        return -1;
    for (size_t i = 0; i < (size_t)g->width * (size_t)g->height; i++)
        seen[g->value[i]] = 1;
    for (int v = 1; v < VALUES; v++) {
        if (!seen[v])
            continue;
        if (count < most)
            list[count] = v;
        count++;
    }
    free(seen);
    return count;
}
