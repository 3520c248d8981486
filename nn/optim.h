/* optim.h - optimisers over a parameter store, gradient clipping, learning-rate schedules.
 *
 * An optimiser updates the weights that are trained (mcs_params_train) when it steps, in the
 * order of the store; its state of a weight begins when that weight first has a gradient. */
#ifndef MCS_OPTIM_H
#define MCS_OPTIM_H
#include "nn/nn.h"

typedef struct mcs_optim mcs_optim;

typedef struct { float beta1, beta2, eps, weight_decay; } mcs_adamw_opts;
/* torch.optim.AdamW (Loshchilov & Hutter 2019), decoupled decay: p -= lr * wd * p.  Weights of
 * fewer than two dimensions (biases, norms, logit_scale) do not decay.  NULL: out of memory. */
mcs_optim *mcs_adamw_new(mcs_params *p, const mcs_adamw_opts *o);

typedef struct { float momentum, weight_decay; bool nesterov; } mcs_sgd_opts;
/* torch.optim.SGD: g += wd * p; m = momentum * m + g; p -= lr * (nesterov ? g + momentum*m : m).
 * The same weights decay as above. */
mcs_optim *mcs_sgd_new(mcs_params *p, const mcs_sgd_opts *o);

void mcs_optim_free(mcs_optim *o);                      /* Nullable */
/* One update from the gradients in the store, which stay as they are (mcs_params_zero_grad).
 * Nullable: pool. */
mcs_status mcs_optim_step(mcs_optim *o, mcs_pool *pool, double lr, mcs_error *e) MCS_MUST_CHECK;

/* The state, for checkpoints: moments of weight i by name ("exp_avg", "exp_avg_sq" / "momentum"),
 * each with the weight's number of elements; NULL where the weight has none yet. */
int mcs_optim_state_count(const mcs_optim *o);          /* 2 for AdamW, 1 for SGD */
const char *mcs_optim_state_name(const mcs_optim *o, int which);
float *mcs_optim_state(mcs_optim *o, int64_t i, int which);
/* The same, made (zero) if absent; NULL: out of memory. */
float *mcs_optim_state_make(mcs_optim *o, int64_t i, int which);
int64_t mcs_optim_steps(const mcs_optim *o);            /* steps taken: the bias corrections */
void mcs_optim_set_steps(mcs_optim *o, int64_t steps);

/* Global L2 norm of all gradients in the store, summed in double in a fixed order. */
double mcs_grad_norm(const mcs_params *p, mcs_pool *pool);
/* torch.nn.utils.clip_grad_norm_: scales all gradients by min(1, max_norm / (norm + 1e-6));
 * returns the norm before. */
double mcs_grad_clip(mcs_params *p, mcs_pool *pool, double max_norm);

typedef enum { MCS_SCHEDULE_CONST, MCS_SCHEDULE_COSINE, MCS_SCHEDULE_STEP, MCS_SCHEDULE_POLY } mcs_schedule_kind;
typedef struct {
    mcs_schedule_kind kind;
    double lr;                  /* peak */
    int64_t warmup;             /* steps: lr * (step+1) / warmup, as open_clip's scheduler */
    int64_t total;              /* steps in all, for COSINE (to 0) and POLY */
    int64_t every;              /* STEP: steps between decays */
    double gamma;               /* STEP: factor (.5); POLY: exponent (.9) */
} mcs_schedule;
double mcs_schedule_lr(const mcs_schedule *s, int64_t step);    /* step counts from 0 */
#endif
