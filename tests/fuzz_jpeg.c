/* fuzz_jpeg.c - libFuzzer entry of the JPEG reader.  Seeds: tests/golden/pictures. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "image/image.h"
#include "image/preprocess.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mcs_error e = { MCS_OK, "" };
    if (size < 3 || memcmp(data, "\xff\xd8\xff", 3))
        return -1; /* another format: not kept in the corpus */
    mcs_image *im = mcs_image_read_memory(data, size, "fuzz", &e);
    if (!im) {
        if (e.status == MCS_OK || !e.message[0])
            abort();
        return 0;
    }
    if ((int64_t)im->width * im->height < 1 << 16) {
        float square[3 * 8 * 8];
        mcs_image_free(mcs_image_to_grey(im, NULL));
        if (mcs_preprocess_sam(im, 8, mcs_sam_mean, mcs_sam_std, square, NULL, &e))
            abort();
    }
    mcs_image_free(im);
    return 0;
}
