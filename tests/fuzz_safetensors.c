/* The safetensors reader on arbitrary bytes; when the first byte is odd the length in front is
 * set to what the rest holds, so that the fuzzer need not find it. */
#include <stdlib.h>
#include <string.h>
#include "tests/fuzz_checkpoint.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    bool fix = data[0] & 1;
    const uint8_t *close = fix ? memchr(data + 1, '\n', size - 1) : NULL;
    size_t header = close ? (size_t)(close - data - 1) : size - 1;
    uint8_t *file = malloc(size + 8);
    if (!file)
        return 0;
    for (int i = 0; i < 8; i++)
        file[i] = (uint8_t)((uint64_t)header >> 8 * i);
    /* header, then the bytes after the newline are the data */
    memcpy(file + 8, data + 1, header);
    size_t rest = fix && close ? size - 2 - header : 0;
    if (rest)
        memcpy(file + 8 + header, close + 1, rest);
    if (fix)
        fuzz_checkpoint(file, 8 + header + rest);
    else
        fuzz_checkpoint(data + 1, size - 1);
    free(file);
    return 0;
}
