/* cli_evalseg_values.c - what the values of a folder of masks mean.
 *
 * Masks come as 0/1, 0/255, one bit, grey, RGB, palette or label numbers.  A single file cannot
 * tell (an empty mask, a case that lacks a label), so all files of a folder are looked at first:
 *
 *   one value besides 0          foreground is whatever is not 0
 *   few values, small or far     label numbers (or colours), each a structure of its own
 *   apart
 *   JPEG, or many values         soft edges: foreground is above half of the range
 *
 * Both folders must agree on labels, else everything that is not background counts as one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tensor/parallel.h"
#include "tools/cli_evalseg.h"

static uint32_t sample(const mcs_image *im, int64_t i)
{
    return im->depth == 16 ? ((const uint16_t *)im->data)[i] : ((const uint8_t *)im->data)[i];
}

uint32_t es_value(const mcs_image *im, bool alpha, int64_t pixel)
{
    int64_t at = pixel * im->channels;
    if (alpha)
        return sample(im, at + im->channels - 1);
    uint32_t r = sample(im, at);
    if (im->channels < 3)
        return r;
    uint32_t g = sample(im, at + 1), b = sample(im, at + 2);
    if (r == g && g == b)
        return r;
    int shift = im->depth - 8;
    return ES_COLOUR | (r >> shift) << 16 | (g >> shift) << 8 | b >> shift;
}

bool es_in_alpha(const mcs_image *im)
{
    int64_t n = (int64_t)im->width * im->height;
    if (im->channels != 2 && im->channels != 4)
        return false;
    bool varies = false;
    for (int64_t i = 1; i < n; i++) {
        if (es_value(im, false, i) != es_value(im, false, 0))
            return false;
        varies |= es_value(im, true, i) != es_value(im, true, 0);
    }
    return varies;
}

uint32_t es_luma(uint32_t value)
{
    if (!(value & ES_COLOUR))
        return value;
    return (19595 * (value >> 16 & 255) + 38470 * (value >> 8 & 255) + 7471 * (value & 255) +
            32768) >>
           16;
}

void es_value_name(uint32_t value, char name[16])
{
    if (value & ES_COLOUR)
        snprintf(name, 16, "#%06x", value & 0xFFFFFF);
    else
        snprintf(name, 16, "%u", value);
}

/* ---- Collecting ---- */

static void add_value(es_values *s, uint32_t v)
{
    int i = s->count;
    while (i > 0 && s->v[i - 1] > v)
        i--;
    if (i > 0 && s->v[i - 1] == v)
        return;
    if (s->count == ES_VALUES) {
        s->many = true;
        return;
    }
    memmove(&s->v[i + 1], &s->v[i], (size_t)(s->count - i) * sizeof s->v[0]);
    s->v[i] = v;
    s->count++;
}

void es_values_add(es_values *s, const mcs_image *im)
{
    bool alpha = es_in_alpha(im);
    uint32_t last = UINT32_MAX;
    for (int64_t i = 0, n = (int64_t)im->width * im->height; i < n; i++) {
        uint32_t v = es_value(im, alpha, i);
        if (v == last)
            continue;
        last = v;
        uint32_t l = es_luma(v);
        s->max = l > s->max ? l : s->max;
        if (!s->many)
            add_value(s, v);
    }
}

void es_values_merge(es_values *s, const es_values *more)
{
    for (int i = 0; i < more->count; i++)
        add_value(s, more->v[i]);
    s->many |= more->many;
    s->lossy |= more->lossy;
    s->max = more->max > s->max ? more->max : s->max;
}

typedef struct {
    const cli_input *file;
    es_values values;
} look;

static bool is_jpeg(const char *path)
{
    unsigned char b[2] = { 0 };
    FILE *f = fopen(path, "rb");
    size_t n = f ? fread(b, 1, 2, f) : 0;
    if (f)
        fclose(f);
    return n == 2 && b[0] == 0xFF && b[1] == 0xD8;
}

static void look_at(void *arg, int64_t begin, int64_t end)
{
    look *list = arg;
    for (int64_t i = begin; i < end; i++) {
        mcs_image *im = mcs_image_read(list[i].file->path, NULL); /* said when it is scored */
        if (im)
            es_values_add(&list[i].values, im);
        list[i].values.lossy = im && is_jpeg(list[i].file->path);
        mcs_image_free(im);
    }
}

/* The values of all files of one side that belong to a case. */
static int collect(es_run *r, int side, es_values *all)
{
    enum { AT_ONCE = 64 };
    look *list = calloc(AT_ONCE, sizeof *list);
    int64_t n = 0;
    if (!list)
        return cli_error(r->t, CLI_NO_MEMORY, "out of memory");
    for (int64_t i = 0; i < r->count && !cli_stop(); i++)
        for (int64_t k = 0; k < r->cases[i].slices; k++) {
            bool last = i == r->count - 1 && k == r->cases[i].slices - 1;
            if (r->cases[i].file[side][k])
                list[n++].file = r->cases[i].file[side][k];
            if (n < AT_ONCE && !last)
                continue;
            mcs_pool_for(mcs_ctx_pool(r->ctx), n, 1, look_at, list);
            for (int64_t j = 0; j < n; j++)
                es_values_merge(all, &list[j].values);
            memset(list, 0, AT_ONCE * sizeof *list);
            n = 0;
        }
    free(list);
    return cli_stop() ? CLI_SIGNALLED + cli_stop() : CLI_CONTINUE;
}

/* ---- Deciding ---- */

typedef enum { BINARY, LABELS, SOFT } kind;

static kind kind_of(const es_values *s)
{
    int others = s->count - (s->count && s->v[0] == 0);
    bool apart = true, small = true;
    if (s->lossy || s->many)
        return SOFT;
    if (others <= 1)
        return BINARY;
    for (int i = 0; i < s->count; i++) {
        bool colour = s->v[i] & ES_COLOUR;
        small &= !colour && s->v[i] <= 64;
        apart &= colour || i == 0 || s->v[i] - s->v[i - 1] >= 16;
    }
    return small || (apart && others <= 32) ? LABELS : SOFT;
}

static bool contains(const es_values *s, uint32_t v)
{
    for (int i = 0; i < s->count; i++)
        if (s->v[i] == v)
            return true;
    return false;
}

static bool subset(const es_values *a, const es_values *b)
{
    for (int i = 0; i < a->count; i++)
        if (a->v[i] && !contains(b, a->v[i]))
            return false;
    return true;
}

/* --labels 1,2,#ff0000 */
static bool read_labels(es_run *r, const char *text)
{
    r->labels = 0;
    while (*text && r->labels < ES_LABELS_MAX) {
        char *end;
        bool colour = *text == '#';
        unsigned long v = strtoul(text + colour, &end, colour ? 16 : 10);
        if (end == text + colour || v < 1 || v > (colour ? 0xFFFFFFul : 65535ul) ||
            (*end && *end != ','))
            return false;
        bool grey = colour && v >> 16 == (v & 255) && (v >> 8 & 255) == (v & 255);
        r->label[r->labels++] = grey     ? (uint32_t)v & 255
                                : colour ? ES_COLOUR | (uint32_t)v
                                         : (uint32_t)v;
        text = end + (*end == ',');
    }
    return r->labels && !*text;
}

static bool number(const char *text, uint32_t *v)
{
    char *end;
    unsigned long n = strtoul(text, &end, 10);
    *v = (uint32_t)n;
    return end != text && !*end && n <= 65535;
}

static const char *const side_names[] = { "truth", "segmentation", "other segmentation" };

static int threshold(es_run *r, int side, const es_values *s, kind k, const char *asked)
{
    es_meaning *m = &r->meaning[side];
    const char *name = side_names[side];
    if (strcmp(asked, "auto") != 0) {
        if (!number(asked, &m->threshold))
            return cli_error(r->t, CLI_BAD_USAGE, "--%s-threshold: %s is no number from 0 to 65535",
                             side ? "seg" : "gt", asked);
        snprintf(m->said, sizeof m->said, "%s: foreground is above %u", name, m->threshold);
        return CLI_CONTINUE;
    }
    m->threshold = k == SOFT ? s->lossy ? 127 : s->max / 2 : 0;
    if (k == SOFT)
        snprintf(m->said, sizeof m->said, "%s: %s; foreground is above %u", name,
                 s->lossy  ? "JPEG, whose edges are soft"
                 : s->many ? "more than 256 values"
                           : "many values",
                 m->threshold);
    else
        snprintf(m->said, sizeof m->said, "%s: values up to %u; foreground is above 0", name,
                 s->max);
    return CLI_CONTINUE;
}

static void take_labels(es_run *r, const es_values *s)
{
    for (int i = 0; i < s->count; i++) {
        int k = 0;
        while (k < r->labels && r->label[k] != s->v[i])
            k++;
        if (s->v[i] && k == r->labels && r->labels < ES_LABELS_MAX)
            r->label[r->labels++] = s->v[i];
    }
}

static bool agree_on_labels(const es_run *r, const es_values s[3], const kind k[3])
{
    bool any = false;
    for (int a = 0; a < 3; a++) {
        if (!r->given[a])
            continue;
        any |= k[a] == LABELS;
        for (int b = 0; b < 3; b++)
            if (r->given[b] && k[b] == LABELS && k[a] != LABELS &&
                !(k[a] == BINARY && subset(&s[a], &s[b])))
                return false;
    }
    return any;
}

static int decide(es_run *r, const es_values s[3], const kind k[3])
{
    const char *asked[3] = { r->o->gt_threshold, r->o->seg_threshold, r->o->seg_threshold };
    bool several = strcmp(r->o->labels, "auto") == 0, one = strcmp(r->o->labels, "binary") == 0;
    bool forced = strcmp(asked[0], "auto") != 0 || strcmp(asked[1], "auto") != 0;
    if (!several && !one && !read_labels(r, r->o->labels))
        return cli_error(r->t, CLI_BAD_USAGE, "--labels wants auto, binary or numbers: 1,2,4");
    if (several && !forced && agree_on_labels(r, s, k)) {
        for (int i = 0; i < 3; i++)
            take_labels(r, &s[i]);
    } else if (several && !forced && (k[0] == LABELS || k[1] == LABELS)) {
        cli_warn(r->t, "the folders do not agree on labels: all that is not background counts as "
                       "one (see --labels)");
    }
    r->binary = r->labels == 0;
    for (int i = 0; i < 3 && r->binary; i++) {
        int code = r->given[i] ? threshold(r, i, &s[i], k[i], asked[i]) : CLI_CONTINUE;
        if (code != CLI_CONTINUE)
            return code;
        if (r->given[i] && k[i] == SOFT && strcmp(asked[i], "auto") == 0)
            cli_warn(r->t, "%s", r->meaning[i].said);
        else if (r->given[i])
            cli_info(r->t, "%s", r->meaning[i].said);
    }
    r->labels = r->binary ? 1 : r->labels;
    r->levels = r->labels + (r->labels > 1);
    return CLI_CONTINUE;
}

static void say_labels(es_run *r)
{
    char text[200] = "", name[16];
    for (int i = 0; i < r->labels && strlen(text) < 150; i++) {
        es_value_name(r->label[i], name);
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s", i ? ", " : "", name);
    }
    for (int i = 0; i < 3; i++) {
        r->meaning[i].labels = true;
        snprintf(r->meaning[i].said, sizeof r->meaning[i].said, "%.30s: %d labels: %.150s",
                 side_names[i], r->labels, text);
    }
    cli_info(r->t, "%d labels: %s", r->labels, text);
}

int es_meaning_find(es_run *r)
{
    es_values s[3] = { 0 };
    kind k[3] = { BINARY, BINARY, BINARY };
    for (int i = 0; i < 3; i++) {
        int code = r->given[i] ? collect(r, i, &s[i]) : CLI_CONTINUE;
        if (code != CLI_CONTINUE)
            return code;
        k[i] = kind_of(&s[i]);
    }
    int code = decide(r, s, k);
    if (code == CLI_CONTINUE && !r->binary)
        say_labels(r);
    return code;
}
