/* cli_masks.c - reading a file of masks as numbers. */
#include "tools/cli_masks.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

static mcs_status read_one(const char *path, cli_grid *g, mcs_error *e)
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

/* "x_mask.png" -> "x_mask_2.png", to free(); NULL if the name is another, or there is no such file. */
static char *further_mask(const char *path, int number)
{
    static const char tail[] = "_mask.png";
    size_t n = strlen(path), m = sizeof tail - 1;
    char *more = n > m && strcmp(path + n - m, tail) == 0 ? malloc(n + 20) : NULL;
    if (more)
        snprintf(more, n + 20, "%.*s_mask_%d.png", (int)(n - m), path, number);
    if (more && cli_exists(more))
        return more;
    free(more);
    return NULL;
}

mcs_status cli_grid_read(const char *path, cli_grid *g, mcs_error *e)
{
    mcs_status s = read_one(path, g, e);
    char *more = NULL;
    for (int k = 1; s == MCS_OK && (more = further_mask(path, k)); k++) {
        cli_grid other;
        s = read_one(more, &other, e);
        if (s == MCS_OK && (other.width != g->width || other.height != g->height))
            s = mcs_error_set(e, MCS_EFORMAT, "%s: is %d x %d pixels, %s %d x %d", more,
                              other.width, other.height, path, g->width, g->height);
        for (size_t i = 0; s == MCS_OK && i < (size_t)g->width * (size_t)g->height; i++)
            g->value[i] = other.value[i] > g->value[i] ? other.value[i] : g->value[i];
        free(other.value);
        free(more);
    }
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
