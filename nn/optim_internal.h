/* optim_internal.h - what every optimiser is made of.  Private to nn/. */
#ifndef MCS_OPTIM_INTERNAL_H
#define MCS_OPTIM_INTERNAL_H
#include "nn/optim.h"
#include "nn/params_internal.h"

enum { MCS_OPTIM_STATES = 2 };

typedef struct {                /* one weight, one step */
    float *p, *state[MCS_OPTIM_STATES];
    const float *g;
    double lr, decay;           /* decay: 0 for weights that do not decay */
    const struct mcs_optim *o;
} mcs_update;

struct mcs_optim {
    mcs_params *params;
    int states;
    const char *state_names[MCS_OPTIM_STATES];
    float **state;              /* [which * count + i] */
    int64_t count, steps;
    mcs_body *update;           /* body over the elements of one mcs_update */
    mcs_adamw_opts adamw;
    mcs_sgd_opts sgd;
};

mcs_optim *mcs_optim_new(mcs_params *p, int states, mcs_body *update);
#endif
