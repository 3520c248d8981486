/* status.c - error records: the first one wins. */
#include "tensor/status.h"
#include <stdio.h>

mcs_status mcs_error_vset(mcs_error *e, mcs_status s, const char *fmt, va_list ap)
{
    if (!e || e->status != MCS_OK)
        return s;
    e->status = s;
    vsnprintf(e->message, sizeof e->message, fmt, ap);
    return s;
}

mcs_status mcs_error_set(mcs_error *e, mcs_status s, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    mcs_error_vset(e, s, fmt, ap);
    va_end(ap);
    return s;
}

const char *mcs_status_name(mcs_status s)
{
    switch (s) {
    case MCS_OK: return "ok";
    case MCS_ENOMEM: return "out of memory";
    case MCS_ESHAPE: return "shape mismatch";
    case MCS_EINVAL: return "invalid argument";
    case MCS_EIO: return "input/output error";
    case MCS_EFORMAT: return "malformed file";
    case MCS_ENOTFOUND: return "not found";
    case MCS_ENUMERIC: return "not a finite number";
    }
    return "unknown status";
}
