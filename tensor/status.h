/* status.h - how every part of the library reports failure.
 *
 * Operating errors (a file, a format, a shape that came from user data, memory) are values.
 * Functions that work in a context keep the first one there (tensor.h); functions without a
 * context take an mcs_error.  A message says what failed, where, what was expected, what was
 * found and, if there is something to do about it, what to do.  The library never prints,
 * exits or aborts on input. */
#ifndef MCS_STATUS_H
#define MCS_STATUS_H
#include <stdarg.h>

typedef enum {
    MCS_OK = 0,
    MCS_ENOMEM,     /* allocation failed, or a byte limit was reached */
    MCS_ESHAPE,     /* shape or dtype does not fit the operation */
    MCS_EINVAL,     /* an argument is out of its documented range */
    MCS_EIO,        /* file cannot be opened, read or written */
    MCS_EFORMAT,    /* file content is malformed, unsupported or unsafe */
    MCS_ENOTFOUND,  /* no tensor, layer or file of that name */
    MCS_ENUMERIC    /* NaN or infinity where a finite number is required */
} mcs_status;

typedef struct {
    mcs_status status;
    char message[1000];
} mcs_error;

#define MCS_MUST_CHECK __attribute__((warn_unused_result))

/* Records the first error: a later call leaves an error already there as it is.
 * Nullable: e.  Returns the status given, so that `return mcs_error_set(...)` reads well. */
mcs_status mcs_error_set(mcs_error *e, mcs_status s, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
mcs_status mcs_error_vset(mcs_error *e, mcs_status s, const char *fmt, va_list ap)
    __attribute__((format(printf, 3, 0)));

/* "out of memory", "malformed file", ...: a constant string. */
const char *mcs_status_name(mcs_status s);
#endif
