/* unet_run.c - runs the UNet for unet.py.
 *
 * usage: unet_run forward CHECKPOINT INPUT OUTPUT     INPUT: images; OUTPUT: logits
 *        unet_run save CHECKPOINT OUTPUT              what mcs_unet_save() makes of it
 *        unet_run train CHECKPOINT INPUT STEPS LR THREADS  INPUT: images, target; one JSON line
 * Files are safetensors, or for CHECKPOINT whatever mcs_unet_load() reads.  train takes STEPS of
 * AdamW on Dice + BCE; its line has the losses, wall and processor seconds per step
 * (the first two left out), forward's share, and peak memory. */
#define PROGRAM "unet_run"
#include "losses/losses.h"
#include "models/unet.h"
#include "nn/optim.h"
#include "tests/parity/parity.h"

static mcs_ctx *context(mcs_pool *pool, bool training)
{
    mcs_ctx *c = mcs_ctx_new(
        &(mcs_ctx_opts){ .pool = pool, .seed = 1, .grad = training, .training = training });
    if (!c)
        die("out of memory");
    return c;
}

static mcs_tensor *read_one(mcs_ctx *c, const char *path, const char *name)
{
    mcs_error e = { 0 };
    mcs_checkpoint *k = mcs_checkpoint_open(path, &e);
    if (!k)
        die(e.message);
    mcs_tensor *x = input(c, k, name);
    mcs_checkpoint_close(k);
    return x;
}

static void forward(const mcs_unet *m, const char *in, const char *out)
{
    static dump d;
    mcs_pool *pool = mcs_pool_new(2);
    mcs_ctx *c = context(pool, false);
    mcs_tensor *x = read_one(c, in, "images"), *y = NULL;
    double t = seconds(CLOCK_MONOTONIC);
    y = mcs_unet_forward(c, m, x);
    t = seconds(CLOCK_MONOTONIC) - t;
    if (!y)
        die(mcs_ctx_message(c));
    enter(&d, "logits", y);
    write_dump(out, &d);
    printf("{\"seconds\": %.4f, \"arena_mb\": %.1f}\n", t, (double)mcs_ctx_peak(c) * 1e-6);
    mcs_ctx_free(c);
    mcs_pool_free(pool);
}

static void train(const mcs_unet *m, const char *in, int steps, double lr, int threads)
{
    mcs_error e = { 0 };
    mcs_params *p = mcs_unet_params(m);
    mcs_optim *opt = mcs_adamw_new(p, &(mcs_adamw_opts){ 0.9f, 0.999f, 1e-8f, 1e-2f });
    mcs_pool *pool = mcs_pool_new(threads);
    mcs_ctx *data = context(pool, false), *c = context(pool, true);
    const mcs_tensor *x = read_one(data, in, "images"), *t = read_one(data, in, "target");
    if (!opt || mcs_params_train(p, "", true))
        die("out of memory");
    double wall = 0, cpu = 0, ahead = 0;
    printf("{\"loss\": [");
    for (int i = 0; i < steps; i++) {
        double w0 = seconds(CLOCK_MONOTONIC), c0 = seconds(CLOCK_PROCESS_CPUTIME_ID);
        mcs_ctx_reset(c);
        mcs_tensor *y = mcs_unet_forward(c, m, x);
        mcs_tensor *loss = mcs_add(c, mcs_dice_loss(c, y, t, 1), mcs_bce_loss(c, y, t));
        double f = seconds(CLOCK_PROCESS_CPUTIME_ID) - c0;
        mcs_params_zero_grad(p);
        if (mcs_backward(c, loss, NULL))
            die(mcs_ctx_message(c));
        if (mcs_optim_step(opt, pool, lr, &e))
            die(e.message);
        printf("%s%.7f", i ? ", " : "", (double)mcs_f32(loss)[0]);
        if (i < 2)
            continue;
        wall += seconds(CLOCK_MONOTONIC) - w0;
        cpu += seconds(CLOCK_PROCESS_CPUTIME_ID) - c0;
        ahead += f;
    }
    int timed = steps > 2 ? steps - 2 : 1;
    printf("], \"wall\": %.4f, \"cpu\": %.4f, \"cpu_forward\": %.4f, \"arena_mb\": %.1f, "
           "\"peak_mb\": %.1f}\n",
           wall / timed, cpu / timed, ahead / timed, (double)mcs_ctx_peak(c) * 1e-6, peak_rss_mb());
    mcs_optim_free(opt);
    mcs_ctx_free(c);
    mcs_ctx_free(data);
    mcs_pool_free(pool);
}

int main(int argc, char **argv)
{
    mcs_error e = { 0 };
    if (argc < 4)
        die("usage: forward CHECKPOINT INPUT OUTPUT | save CHECKPOINT OUTPUT | "
            "train CHECKPOINT INPUT STEPS LR THREADS");
    mcs_unet *m = mcs_unet_load(argv[2], NULL, &e);
    if (!m)
        die(e.message);
    if (!strcmp(argv[1], "forward") && argc == 5)
        forward(m, argv[3], argv[4]);
    else if (!strcmp(argv[1], "save")) {
        if (mcs_unet_save(m, argv[3], NULL, MCS_ST_F32, &e))
            die(e.message);
    } else if (!strcmp(argv[1], "train") && argc == 7)
        train(m, argv[3], atoi(argv[4]), atof(argv[5]), atoi(argv[6]));
    else
        die("unknown command");
    mcs_unet_free(m);
    return 0;
}
