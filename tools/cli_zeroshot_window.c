/* cli_zeroshot_window.c - 16-bit pictures (exported CT, MR) to the 8 bits the models were trained
 * on, by a grey window; the range used is recorded.  8-bit pictures pass through untouched unless
 * a window is asked for. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tools/cli_zeroshot.h"

static bool two_numbers(const char *text, double v[2])
{
    int end = 0;
    return sscanf(text, "%lf,%lf%n", &v[0], &v[1], &end) == 2 && !text[end] && v[0] > -1e9 &&
           v[0] < 1e9 && v[1] > -1e9 && v[1] < 1e9;
}

int zs_window_read(zs_run *r)
{
    const char *how = r->o->normalize;
    double v[2];
    r->range = ZS_RANGE_AUTO;
    r->range_low = 0.5;
    r->range_high = 99.5;
    if (r->o->window) {
        if (how || !two_numbers(r->o->window, v) || v[1] <= 0)
            return cli_error(r->t, CLI_BAD_USAGE,
                             "--window: expected CENTRE,WIDTH with a width "
                             "above 0, and no --normalize");
        r->has_window = true;
        r->range_low = v[0] - v[1] / 2;
        r->range_high = v[0] + v[1] / 2;
        return CLI_CONTINUE;
    }
    if (!how || strcmp(how, "auto") == 0)
        return CLI_CONTINUE;
    if (strcmp(how, "none") == 0)
        r->range = ZS_RANGE_NONE;
    else if (strcmp(how, "minmax") == 0)
        r->range = ZS_RANGE_MINMAX;
    else if (strncmp(how, "percentile:", 11) == 0 && two_numbers(how + 11, v) && v[0] >= 0 &&
             v[0] < v[1] && v[1] <= 100) {
        r->range = ZS_RANGE_PERCENTILE;
        r->range_low = v[0];
        r->range_high = v[1];
    } else {
        return cli_error(r->t, CLI_BAD_USAGE,
                         "--normalize: expected auto, minmax, none or "
                         "percentile:LO,HI with 0 <= LO < HI <= 100");
    }
    return CLI_CONTINUE;
}

static double sample(const mcs_image *im, size_t i)
{
    return im->depth == 16 ? ((const uint16_t *)im->data)[i] : ((const uint8_t *)im->data)[i];
}

/* The levels below which `low` and `high` percent of the samples lie. */
static void percentiles(const mcs_image *im, size_t n, double low, double high, double range[2])
{
    int64_t *count = calloc(65536, sizeof *count), sum = 0;
    range[0] = 0;
    range[1] = im->depth == 16 ? 65535 : 255;
    if (!count)
        return;
    for (size_t i = 0; i < n; i++)
        count[(int)sample(im, i)]++;
    bool found = false;
    for (int v = 0; v < 65536; v++) {
        sum += count[v];
        if (!found && count[v] && (double)sum >= low / 100 * (double)n) {
            range[0] = v;
            found = true;
        }
        if (count[v] && (double)sum >= high / 100 * (double)n) {
            range[1] = v;
            break;
        }
    }
    free(count);
}

static bool choose_range(const zs_run *r, const mcs_image *im, size_t n, double range[2])
{
    if (r->has_window) {
        range[0] = r->range_low;
        range[1] = r->range_high;
        return true;
    }
    if (r->range == ZS_RANGE_AUTO && im->depth == 8)
        return false;
    if (r->range == ZS_RANGE_NONE && im->depth == 8)
        return false;
    range[0] = 0;
    range[1] = 65535;
    if (r->range == ZS_RANGE_MINMAX)
        percentiles(im, n, 0, 100, range);
    else if (r->range != ZS_RANGE_NONE)
        percentiles(im, n, r->range_low, r->range_high, range);
    return true;
}

mcs_image *zs_window(const zs_run *r, const mcs_image *im, json_t *line, mcs_error *e)
{
    double range[2];
    size_t n = (size_t)im->width * (size_t)im->height * (size_t)im->channels;
    mcs_image *out = mcs_image_new(im->width, im->height, im->channels, 8);
    if (!out) {
        mcs_error_set(e, MCS_ENOMEM, "out of memory for a picture of %d x %d", im->width,
                      im->height);
        return NULL;
    }
    if (!choose_range(r, im, n, range)) {
        memcpy(out->data, im->data, n);
        return out;
    }
    double width = range[1] > range[0] ? range[1] - range[0] : 1;
    bool alpha = im->channels == 2 || im->channels == 4;
    for (size_t i = 0; i < n; i++) {
        double v = (sample(im, i) - range[0]) / width * 255;
        if (alpha && (i + 1) % (size_t)im->channels == 0)
            v = im->depth == 16 ? sample(im, i) / 257 : sample(im, i);
        ((uint8_t *)out->data)[i] = (uint8_t)(v <= 0 ? 0 : v >= 255 ? 255 : v + 0.5);
    }
    json_object_set_new(line, "grey_range", json_pack("[f,f]", range[0], range[1]));
    return out;
}
