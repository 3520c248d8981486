/* train_dump.c - training steps of BiomedCLIP on what train.py wrote: for comparison and timing.
 *
 * usage: train_dump CHECKPOINT INPUTS GRADIENTS WEIGHTS MICRO RECOMPUTE STEPS THREADS
 * RECOMPUTE: share of the blocks that run again in backward, 0 to 1.
 * INPUTS: safetensors with pictures (B,3,S,S) and ids (B,N).  DHN-NCE at temperature 0.6, gradient
 * clipped to norm 1, AdamW of lr 1e-4, betas .9 .98, eps 1e-6, decay .1.  GRADIENTS (before
 * clipping) and WEIGHTS are of the last step, "-": not written.  MICRO 0: in one pass.  Prints one
 * JSON line: loss and norm of the last step, wall and processor seconds of each step, memory. */
#define PROGRAM "train_dump"
#include "models/clip_train.h"
#include "nn/optim.h"
#include "tests/parity/parity.h"

typedef struct {
    const mcs_tensor *pictures, *ids;
} inputs;

static mcs_tensor *supply(mcs_ctx *c, void *arg, int64_t first, int64_t count)
{
    const mcs_tensor *x = ((inputs *)arg)->pictures;
    int64_t side = mcs_dim(x, 2), one = 3 * side * side;
    return mcs_wrap(c, MCS_F32, 4, MCS_SHAPE(count, 3, side, side), mcs_f32(x) + first * one);
}

static void write_all(const char *path, const mcs_params *p, bool gradients)
{
    static dump d;
    mcs_ctx *c = mcs_ctx_new(NULL);
    d.count = 0;
    for (int64_t i = 0; i < mcs_params_count(p); i++) {
        mcs_param_entry w = mcs_params_at(p, i);
        const mcs_tensor *x = gradients ? mcs_grad(c, w.tensor) : w.tensor;
        if (x)
            enter(&d, w.name, x);
    }
    if (strcmp(path, "-") != 0)
        write_dump(path, &d);
    mcs_ctx_free(c);
}

int main(int argc, char **argv)
{
    mcs_error e = { MCS_OK, "" };
    if (argc != 9)
        die("usage: train_dump CHECKPOINT INPUTS GRADIENTS WEIGHTS MICRO RECOMPUTE STEPS THREADS");
    mcs_biomedclip *m = mcs_biomedclip_load(argv[1], NULL, &e);
    mcs_checkpoint *k = mcs_checkpoint_open(argv[2], &e);
    if (!m || !k)
        die(e.message);
    mcs_pool *pool = mcs_pool_new(atoi(argv[8]));
    mcs_ctx *data = mcs_ctx_new(NULL);
    mcs_ctx *c = mcs_ctx_new(&(mcs_ctx_opts){ .pool = pool, .training = true });
    inputs in = { input(data, k, "pictures"), input(data, k, "ids") };
    mcs_set_recompute(c, atof(argv[6]) > 0);
    mcs_set_recompute_share(c, (float)atof(argv[6]));
    mcs_params *p = mcs_biomedclip_params(m);
    if (mcs_clip_train_lock(m, &(mcs_clip_lock){ .scale = true }, &e))
        die(e.message);
    mcs_optim *adamw = mcs_adamw_new(p, &(mcs_adamw_opts){ 0.9f, 0.98f, 1e-6f, 0.1f });
    const mcs_clip_batch b = { .size = mcs_dim(in.pictures, 0),
                               .captions = 1,
                               .length = mcs_dim(in.ids, 1),
                               .ids = mcs_i64(in.ids),
                               .images = supply,
                               .images_arg = &in };
    const mcs_clip_step_opts o = { .loss = mcs_contrastive_defaults(MCS_LOSS_DHN_NCE),
                                   .micro = atoi(argv[5]) };
    double loss = 0, norm = 0;
    printf("{\"wall_s\": [");
    static double cpu[100];
    int steps = atoi(argv[7]) < 100 ? atoi(argv[7]) : 100;
    for (int i = 0; i < steps; i++) {
        double t0 = seconds(CLOCK_MONOTONIC), u0 = seconds(CLOCK_PROCESS_CPUTIME_ID);
        mcs_params_zero_grad(p);
        if (mcs_clip_step(c, m, &b, &o, &loss))
            die(mcs_ctx_message(c));
        if (i == steps - 1)
            write_all(argv[3], p, true);
        norm = mcs_grad_clip(p, pool, 1.0);
        if (mcs_optim_step(adamw, pool, 1e-4, &e))
            die(e.message);
        cpu[i] = seconds(CLOCK_PROCESS_CPUTIME_ID) - u0;
        printf("%s%.3f", i ? ", " : "", seconds(CLOCK_MONOTONIC) - t0);
    }
    printf("], \"cpu_s\": [");
    for (int i = 0; i < steps; i++)
        printf("%s%.3f", i ? ", " : "", cpu[i]);
    printf("], \"loss\": %.9g, \"norm\": %.9g, \"arena_mb\": %.0f, \"rss_mb\": %.0f}\n", loss, norm,
           (double)mcs_ctx_peak(c) / 1e6, peak_rss_mb());
    write_all(argv[4], p, false);
    mcs_optim_free(adamw);
    mcs_ctx_free(c);
    mcs_ctx_free(data);
    mcs_checkpoint_close(k);
    mcs_pool_free(pool);
    mcs_biomedclip_free(m);
    return 0;
}
