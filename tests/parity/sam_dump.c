/* sam_dump.c - runs SAM on the inputs that sam.py wrote and dumps what it computed.
 *
 * usage: sam_dump CHECKPOINT INPUT OUTPUT [trace]
 * INPUT: safetensors with rgb (H,W,3), boxes (n,4), points (k,2), labels (k), in picture pixels.
 * OUTPUT: image, embedding, box.logits, box.iou, box.masks, point.logits, point.iou and, with
 * "trace", every tapped output under "tap/<name>".  Prints one JSON line of times and memory. */
#define PROGRAM "sam_dump"
#include "models/sam.h"
#include "tests/parity/parity.h"

static void to_frame(const mcs_sam *m, const mcs_tensor *rgb, const mcs_tensor *xy, float *out)
{
    int64_t n = mcs_numel(xy);
    double *wide = malloc((size_t)n * sizeof *wide);
    if (!wide)
        die("out of memory");
    for (int64_t i = 0; i < n; i++)
        wide[i] = (double)mcs_f32(xy)[i];
    mcs_sam_coords(m, (int)rgb->shape[1], (int)rgb->shape[0], n / 2, wide, out,
                   MCS_SAM_PREDICT_TORCH);
    free(wide);
}

static uint8_t *bytes_of(const mcs_tensor *x)
{
    uint8_t *b = malloc((size_t)mcs_numel(x));
    if (!b)
        die("out of memory");
    for (int64_t i = 0; i < mcs_numel(x); i++)
        b[i] = x->dtype == MCS_I64 ? (uint8_t)mcs_i64(x)[i] : (uint8_t)mcs_f32(x)[i];
    return b;
}

static void run(mcs_ctx *c, const mcs_sam *m, mcs_checkpoint *k, dump *d)
{
    mcs_tensor *rgb = input(c, k, "rgb"), *boxes = input(c, k, "boxes");
    mcs_tensor *points = input(c, k, "points"), *ids = input(c, k, "labels");
    int width = (int)rgb->shape[1], height = (int)rgb->shape[0], labels[64];
    float box[256], xy[128];
    if (mcs_numel(boxes) > 256 || mcs_numel(ids) > 64)
        die("too many prompts");
    for (int64_t i = 0; i < mcs_numel(ids); i++)
        labels[i] = (int)mcs_i64(ids)[i];
    to_frame(m, rgb, boxes, box);
    to_frame(m, rgb, points, xy);
    uint8_t *bytes = bytes_of(rgb);
    mcs_tensor *image = mcs_sam_image(c, m, bytes, width, height);
    free(bytes);
    double t0 = seconds(CLOCK_MONOTONIC);
    mcs_tensor *f = mcs_sam_encode(c, m, image);
    double t1 = seconds(CLOCK_MONOTONIC);
    mcs_sam_prompts p = { .count = (int)boxes->shape[0], .boxes = box };
    mcs_sam_masks b = mcs_sam_decode(c, m, f, &p, false);
    double t2 = seconds(CLOCK_MONOTONIC);
    mcs_tensor *masks = mcs_sam_resize(c, m, b.logits, width, height);
    p = (mcs_sam_prompts){ .count = 1, .points = (int)mcs_numel(ids), .xy = xy, .labels = labels };
    mcs_sam_masks q = mcs_sam_decode(c, m, f, &p, true);
    if (mcs_ctx_status(c))
        die(mcs_ctx_message(c));
    printf("{\"encode_s\": %.3f, \"decode_box_s\": %.4f, \"arena_mb\": %.1f, \"rss_mb\": %.1f}\n",
           t1 - t0, (t2 - t1) / (double)boxes->shape[0], (double)mcs_ctx_peak(c) / 1e6,
           peak_rss_mb());
    keep(d, "", "image", image);
    keep(d, "", "embedding", f);
    keep(d, "", "box.logits", b.logits);
    keep(d, "", "box.iou", b.iou);
    keep(d, "", "box.masks", masks);
    keep(d, "", "point.logits", q.logits);
    keep(d, "", "point.iou", q.iou);
}

int main(int argc, char **argv)
{
    static dump d;
    mcs_error e = { 0 };
    if (argc < 4)
        die("usage: sam_dump CHECKPOINT INPUT OUTPUT [trace]");
    double t0 = seconds(CLOCK_MONOTONIC);
    mcs_sam *m = mcs_sam_load(argv[1], &e);
    mcs_checkpoint *k = m ? mcs_checkpoint_open(argv[2], &e) : NULL;
    if (!k)
        die(e.message);
    fprintf(stderr, "%s loaded in %.2f s\n", mcs_sam_type(m), seconds(CLOCK_MONOTONIC) - t0);
    mcs_pool *pool = mcs_pool_new(0);
    mcs_ctx *c = mcs_ctx_new(&(mcs_ctx_opts){ .pool = pool });
    if (argc > 4)
        mcs_trace(c, keep_tap, &d);
    run(c, m, k, &d);
    write_dump(argv[3], &d);
    mcs_checkpoint_close(k);
    mcs_ctx_free(c);
    mcs_pool_free(pool);
    mcs_sam_free(m);
    return 0;
}
