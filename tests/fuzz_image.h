/* fuzz_image.h - opens bytes as a picture.  Aborts if the reader breaks its promise: a refusal
 * without a status and a message; or if a picture that was read cannot be converted. */
#ifndef MCS_FUZZ_IMAGE_H
#define MCS_FUZZ_IMAGE_H
#include <stdlib.h>
#include <string.h>
#include "image/image.h"
#include "image/preprocess.h"

enum { FUZZ_SIDE = 8 };

/* `convert` fills (3, FUZZ_SIDE, FUZZ_SIDE). */
static inline int fuzz_image(const uint8_t *data, size_t size,
                             mcs_status (*convert)(const mcs_image *, float *, mcs_error *))
{
    mcs_error e = { MCS_OK, "" };
    mcs_image *im = mcs_image_read_memory(data, size, "fuzz", &e);
    if (!im && (e.status == MCS_OK || !e.message[0]))
        abort();
    if (im && (int64_t)im->width * im->height < 1 << 16) {
        float square[3 * FUZZ_SIDE * FUZZ_SIDE];
        mcs_image_free(mcs_image_to_grey(im, NULL));
        if (convert(im, square, &e))
            abort();
    }
    mcs_image_free(im);
    return 0;
}
#endif
