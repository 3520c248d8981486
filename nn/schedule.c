/* schedule.c - learning rate as a pure function of the step, so that resuming needs no state. */
#include <math.h>
#include "nn/optim.h"

double mcs_schedule_lr(const mcs_schedule *s, int64_t step)
{
    if (step < s->warmup)
        return s->lr * (double)(step + 1) / (double)s->warmup;
    double done = (double)(step - s->warmup);
    double length = (double)(s->total > s->warmup ? s->total - s->warmup : 1);
    double part = done < length ? done / length : 1;
    switch (s->kind) {
    case MCS_SCHEDULE_COSINE: return s->lr * 0.5 * (1 + cos(3.14159265358979323846 * part));
    case MCS_SCHEDULE_POLY: return s->lr * pow(1 - part, s->gamma);
    case MCS_SCHEDULE_STEP:
        return s->lr * pow(s->gamma, s->every > 0 ? floor((double)step / (double)s->every) : 0);
    case MCS_SCHEDULE_CONST: break;
    }
    return s->lr;
}
