/* clip_dump.c - runs BiomedCLIP on what biomedclip.py wrote and dumps what it computed.
 *
 * usage: clip_dump CHECKPOINT VOCAB CAPTIONS OUTPUT PICTURE...
 * OUTPUT: safetensors with pictures (B,3,S,S), ids (T,N), image (B,E), text (T,E), logits (B,T)
 * and, from a second run, every tapped output under "tap/<name>".  CAPTIONS: one a line.  Prints
 * one JSON line of times and memory. */
#define PROGRAM "clip_dump"
#include "models/biomedclip.h"
#include "tests/parity/parity.h"

enum { CAPTIONS_MAX = 64 };

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
    double t0 = seconds(CLOCK_MONOTONIC);
    mcs_tensor *image = mcs_biomedclip_encode_image(c, m, pictures);
    double t1 = seconds(CLOCK_MONOTONIC);
    mcs_tensor *text = mcs_biomedclip_encode_text(c, m, ids, NULL);
    double t2 = seconds(CLOCK_MONOTONIC);
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
    double t0 = seconds(CLOCK_MONOTONIC);
    mcs_biomedclip *m = mcs_biomedclip_load(argv[1], argv[2], &e);
    if (!m)
        die(e.message);
    printf("{\"load_s\": %.2f, ", seconds(CLOCK_MONOTONIC) - t0);
    mcs_pool *pool = mcs_pool_new(0);
    mcs_ctx *c = mcs_ctx_new(&(mcs_ctx_opts){ .pool = pool });
    mcs_tensor *pictures = read_pictures(c, m, argc - 5, argv + 5);
    mcs_tensor *ids = mcs_biomedclip_tokens(c, m, captions, read_captions(argv[3], captions));
    run(c, m, pictures, ids, &d, false); /* pages, caches, threads */
    run(c, m, pictures, ids, &d, true);
    printf("\"rss_mb\": %.0f}\n", peak_rss_mb());
    mcs_trace(c, keep_tap, &d);
    run(c, m, pictures, ids, &d, false);
    write_dump(argv[4], &d);
    mcs_ctx_free(c);
    mcs_pool_free(pool);
    mcs_biomedclip_free(m);
    return 0;
}
