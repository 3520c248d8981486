/* sam_tiny.h - the tiny SAMs of make_sam.py. */
#ifndef MCS_TEST_SAM_TINY_H
#define MCS_TEST_SAM_TINY_H
#include "models/sam.h"
#include "tests/check.h"

static inline mcs_sam *load(const char *name)
{
    mcs_error e = { MCS_OK, "" };
    char path[256];
    snprintf(path, sizeof path, "tests/golden/%s.safetensors", name);
    mcs_sam *m = mcs_sam_load(path, &e);
    if (!m)
        fail_msg("%s", e.message);
    return m;
}
#endif
