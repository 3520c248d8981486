/* fuzz_jpeg.c - libFuzzer entry of the JPEG reader.  Seeds: tests/golden/pictures. */
#include "tests/fuzz_image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static mcs_status convert(const mcs_image *im, float *out, mcs_error *e)
{
    return mcs_preprocess_sam(im, FUZZ_SIDE, mcs_sam_mean, mcs_sam_std, out, NULL, e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3 || memcmp(data, "\xff\xd8\xff", 3))
        return -1; /* another format: not kept in the corpus */
    return fuzz_image(data, size, convert);
}
