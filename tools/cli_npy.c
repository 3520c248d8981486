/* cli_npy.c - NumPy's .npy, format 1.0: magic, a header padded to 64 bytes, the numbers. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tools/cli_files.h"

enum { MAGIC = 10, HEADER = 192 }; /* HEADER: room for 8 dimensions, a multiple of 64 */

static void put_le(uint8_t *dst, const float *src, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &src[i], 4);
        for (int k = 0; k < 4; k++)
            *dst++ = (uint8_t)(bits >> (8 * k));
    }
}

mcs_status cli_write_npy(const char *path, int ndim, const int64_t *shape, const float *data,
                         mcs_error *e)
{
    char text[HEADER + 1];
    size_t n = 1;
    int used = snprintf(text, sizeof text, "{'descr': '<f4', 'fortran_order': False, 'shape': (");
    for (int i = 0; i < ndim && i < 8; i++) {
        used += snprintf(text + used, sizeof text - (size_t)used, "%lld, ", (long long)shape[i]);
        n *= (size_t)shape[i];
    }
    used += snprintf(text + used, sizeof text - (size_t)used, "), }");
    uint8_t *bytes = malloc(HEADER + 4 * n);
    if (!bytes)
        return mcs_error_set(e, MCS_ENOMEM, "%s: out of memory", path);
    memcpy(bytes, "\x93NUMPY\1\0", 8);
    bytes[8] = HEADER - MAGIC;
    bytes[9] = 0;
    memset(bytes + MAGIC, ' ', HEADER - MAGIC);
    memcpy(bytes + MAGIC, text, (size_t)used < HEADER - MAGIC ? (size_t)used : HEADER - MAGIC);
    bytes[HEADER - 1] = '\n';
    put_le(bytes + HEADER, data, n);
    mcs_status s = cli_write(path, bytes, HEADER + 4 * n, e);
    free(bytes);
    return s;
}
