/* The safetensors reader on arbitrary bytes; input that begins with '{' is a header, up to a newline,
 * and the data after it: the length in front is put there, so that the fuzzer need not find it. */
#include <stdlib.h>
#include <string.h>
#include "tests/fuzz_checkpoint.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0 || data[0] != '{') {
        fuzz_checkpoint(data, size);
        return 0;
    }
    const uint8_t *end = memchr(data, '\n', size);
    size_t header = end ? (size_t)(end - data) : size, rest = end ? size - header - 1 : 0;
    uint8_t *file = malloc(size + 8);
    if (!file)
        abort();
    for (int i = 0; i < 8; i++)
        file[i] = (uint8_t)((uint64_t)header >> 8 * i);
    memcpy(file + 8, data, header);
    if (rest)
        memcpy(file + 8 + header, end + 1, rest);
    fuzz_checkpoint(file, 8 + header + rest);
    free(file);
    return 0;
}
