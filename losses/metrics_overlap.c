/* metrics_overlap.c - measures that depend on counts of pixels only.
 *
 *   DSC = 2|P&G| / (|P| + |G|) (Dice 1945)      IoU = |P&G| / |P|G| (Jaccard 1901)
 *   sensitivity = |P&G| / |G|                    precision = |P&G| / |P|
 *   AUC of a mask = (sensitivity + specificity) / 2: the ROC curve has a single corner. */
#include <math.h>
#include "losses/metrics.h"

mcs_overlap mcs_overlap_count(const uint8_t *truth, const uint8_t *found, int64_t n)
{
    mcs_overlap o = { .total = n };
    for (int64_t i = 0; i < n; i++) {
        int t = truth[i] != 0, f = found[i] != 0;
        o.both += t & f;
        o.truth += t;
        o.found += f;
    }
    return o;
}

static double ratio(int64_t part, int64_t whole)
{
    return whole > 0 ? (double)part / (double)whole : (double)NAN;
}

double mcs_dsc(const mcs_overlap *o)
{
    return ratio(2 * o->both, o->truth + o->found);
}

double mcs_iou(const mcs_overlap *o)
{
    return ratio(o->both, o->truth + o->found - o->both);
}

double mcs_overlap_sensitivity(const mcs_overlap *o)
{
    return ratio(o->both, o->truth);
}

double mcs_overlap_precision(const mcs_overlap *o)
{
    return ratio(o->both, o->found);
}

double mcs_auc_mask(const mcs_overlap *o)
{
    int64_t outside = o->total - o->truth, wrong = o->found - o->both;
    return 0.5 * (ratio(o->both, o->truth) + ratio(outside - wrong, outside));
}

double mcs_metric_or(double value, double instead)
{
    return isnan(value) ? instead : value;
}
