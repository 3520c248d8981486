/* channels.c - the choice of the k largest channels.
 *
 * Which of several equal values are chosen is arbitrary, but for the released MedCLIP-SAM it is
 * everything: its gradients are all zero, so the choice is made by torch.topk alone.  On a CPU,
 * with n < 64 k, that is the C++ library's nth_element: quickselect with the median of the second,
 * the middle and the last element moved to the front as pivot, partitioning from both ends past
 * elements that are strictly on their side, and insertion sort of the last three.  mcs_cam_top()
 * retraces it, exchange by exchange (compared with torch 2.13 in tests/golden/make_cam.py).  With
 * fewer, topk keeps a heap of the first k elements, which equal values never enter: lower indices
 * win, as they do here when `official` is off. */
#include <stdlib.h>
#include "cam/cam_internal.h"

static void swap(int64_t *a, int64_t *b)
{
    int64_t t = *a;
    *a = *b;
    *b = t;
}

/* Moves the median of a, b, c (elements of order) to the front. */
static void median_to_front(const float *v, int64_t *front, int64_t *a, int64_t *b, int64_t *c)
{
    if (v[*a] > v[*b])
        swap(front, v[*b] > v[*c] ? b : v[*a] > v[*c] ? c : a);
    else
        swap(front, v[*a] > v[*c] ? a : v[*b] > v[*c] ? c : b);
}

/* Larger values than the pivot's to the left; returns the start of the right part. */
static int64_t partition(const float *v, int64_t *order, int64_t begin, int64_t end, float pivot)
{
    for (;; begin++) {
        while (v[order[begin]] > pivot)
            begin++;
        end--;
        while (pivot > v[order[end]])
            end--;
        if (begin >= end)
            return begin;
        swap(&order[begin], &order[end]);
    }
}

static void select_nth(const float *v, int64_t *order, int64_t n, int64_t nth)
{
    int64_t begin = 0, end = n;
    while (end - begin > 3) {
        median_to_front(v, &order[begin], &order[begin + 1], &order[begin + (end - begin) / 2],
                        &order[end - 1]);
        int64_t cut = partition(v, order, begin + 1, end, v[order[begin]]);
        if (cut <= nth)
            begin = cut;
        else
            end = cut;
    }
    for (int64_t i = begin + 1; i < end; i++)
        for (int64_t j = i; j > begin && v[order[j]] > v[order[j - 1]]; j--)
            swap(&order[j], &order[j - 1]);
}

typedef struct {
    float value;
    int64_t index;
} ranked;

static int by_value(const void *a, const void *b)
{
    const ranked *x = a, *y = b;
    if (x->value != y->value)
        return x->value < y->value ? 1 : -1;
    return x->index < y->index ? -1 : x->index > y->index;
}

void mcs_cam_top(const float *value, int64_t n, int64_t k, bool official, void *scratch,
                 bool *chosen)
{
    int64_t *order = scratch;
    ranked *r = scratch;
    for (int64_t i = 0; i < n; i++)
        chosen[i] = k >= n;
    if (k >= n)
        return;
    if (official && 64 * k > n) {
        for (int64_t i = 0; i < n; i++)
            order[i] = i;
        select_nth(value, order, n, k - 1);
        for (int64_t i = 0; i < k; i++)
            chosen[order[i]] = true;
        return;
    }
    for (int64_t i = 0; i < n; i++)
        r[i] = (ranked){ value[i], i };
    qsort(r, (size_t)n, sizeof *r, by_value);
    for (int64_t i = 0; i < k; i++)
        chosen[r[i].index] = true;
}
