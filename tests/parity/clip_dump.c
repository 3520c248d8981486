/* clip_dump.c - runs BiomedCLIP on what biomedclip.py wrote and dumps what it computed.
 *
 * usage: clip_dump CHECKPOINT VOCAB CAPTIONS OUTPUT PICTURE...
 * OUTPUT: safetensors with pictures (B,3,S,S), ids (T,N), image (B,E), text (T,E), logits (B,T)
 * and, from a second run, every tapped output under "tap/<name>".  CAPTIONS: one a line.  Prints
 * one JSON line of times and memory. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "models/biomedclip.h"

enum { ENTRIES_MAX = 1024, CAPTIONS_MAX = 64 };

typedef struct {
    mcs_save_entry entry[ENTRIES_MAX];
    int count;
} dump;

static void die(const char *what)
{
    fprintf(stderr, "clip_dump: %s\n", what);
    exit(1);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double peak_rss_mb(void)
{
    char line[256];
    double kb = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        if (!strncmp(line, "VmHWM:", 6))
            kb = atof(line + 6);
    if (f)
        fclose(f);
    return kb * 1.024e-3;
}

static void keep(dump *d, const char *prefix, const char *name, const mcs_tensor *x)
{
    if (!x || d->count == ENTRIES_MAX)
        die("nothing to keep, or too much");
    size_t n = strlen(prefix) + strlen(name) + 1;
    size_t bytes = (size_t)mcs_numel(x) * (x->dtype == MCS_I64 ? 8 : 4);
    char *full = malloc(n);
    void *data = malloc(bytes);
    if (!full || !data)
        die("out of memory");
    snprintf(full, n, "%s%s", prefix, name);
    memcpy(data, x->data, bytes);
    mcs_save_entry *e = &d->entry[d->count++];
    *e = (mcs_save_entry){ .name = full, .ndim = x->ndim, .data = data, .source = x->dtype };
    e->dtype = x->dtype == MCS_I64 ? MCS_ST_I64 : MCS_ST_F32;
    memcpy(e->shape, x->shape, sizeof x->shape);
}

static void on_tap(const char *name, const mcs_tensor *x, void *arg)
{
    keep(arg, "tap/", name, x);
}

static int read_captions(const char *path, const char **captions)
{
    FILE *f = fopen(path, "r");
    int n = 0;
    if (!f)
        die("cannot open the captions");
    for (char *line = NULL; n < CAPTIONS_MAX; line = NULL) {
        size_t cap = 0;
        if (getline(&line, &cap, f) < 0) {
            free(line);
            break;
        }
        line[strcspn(line, "\n")] = '\0';
        captions[n++] = line;
    }
    fclose(f);
    return n;
}

static mcs_tensor *read_pictures(mcs_ctx *c, const mcs_biomedclip *m, int count, char **paths)
{
    const mcs_tensor *x[CAPTIONS_MAX];
    mcs_error e = { MCS_OK, "" };
    for (int i = 0; i < count && i < CAPTIONS_MAX; i++) {
        mcs_image *im = mcs_image_read(paths[i], &e);
        if (!im)
            die(e.message);
        x[i] = mcs_biomedclip_image(c, m, im);
        mcs_image_free(im);
    }
    return mcs_concat(c, 0, count, x);
}

static void run(mcs_ctx *c, const mcs_biomedclip *m, const mcs_tensor *pictures,
                const mcs_tensor *ids, dump *d, bool timed)
{
    mcs_scope s = mcs_scope_begin(c);
    double t0 = now();
    mcs_tensor *image = mcs_biomedclip_encode_image(c, m, pictures);
    double t1 = now();
    mcs_tensor *text = mcs_biomedclip_encode_text(c, m, ids, NULL);
    double t2 = now();
    mcs_tensor *logits = mcs_biomedclip_logits(c, m, image, text);
    if (mcs_ctx_status(c))
        die(mcs_ctx_message(c));
    if (timed) {
        printf("\"image_s\": %.4f, \"text_s\": %.4f, \"arena_mb\": %.1f, ", t1 - t0, t2 - t1,
               (double)mcs_ctx_peak(c) / 1e6);
        keep(d, "", "pictures", pictures);
        keep(d, "", "ids", ids);
        keep(d, "", "image", image);
        keep(d, "", "text", text);
        keep(d, "", "logits", logits);
    }
    mcs_scope_end(c, s, NULL);
}

int main(int argc, char **argv)
{
    static dump d;
    static const char *captions[CAPTIONS_MAX];
    mcs_error e = { MCS_OK, "" };
    if (argc < 6 || argc - 5 > CAPTIONS_MAX)
        die("usage: clip_dump CHECKPOINT VOCAB CAPTIONS OUTPUT PICTURE...");
    double t0 = now();
    mcs_biomedclip *m = mcs_biomedclip_load(argv[1], argv[2], &e);
    if (!m)
        die(e.message);
    printf("{\"load_s\": %.2f, ", now() - t0);
    mcs_pool *pool = mcs_pool_new(0);
    mcs_ctx *c = mcs_ctx_new(&(mcs_ctx_opts){ .pool = pool });
    mcs_tensor *pictures = read_pictures(c, m, argc - 5, argv + 5);
    mcs_tensor *ids = mcs_biomedclip_tokens(c, m, captions, read_captions(argv[3], captions));
    run(c, m, pictures, ids, &d, false); /* pages, caches, threads */
    run(c, m, pictures, ids, &d, true);
    printf("\"rss_mb\": %.0f}\n", peak_rss_mb());
    mcs_trace(c, on_tap, &d);
    run(c, m, pictures, ids, &d, false);
    if (mcs_safetensors_write(argv[4], d.count, d.entry, NULL, &e))
        die(e.message);
    mcs_ctx_free(c);
    mcs_pool_free(pool);
    mcs_biomedclip_free(m);
    return 0;
}
