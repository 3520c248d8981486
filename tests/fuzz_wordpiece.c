/* The vocabulary reader, the tokeniser and caption cleaning on arbitrary bytes: the input up to
 * the first 0xFF byte is a vocabulary's tail, the rest a text. */
#include <stdlib.h>
#include <string.h>
#include "models/caption.h"
#include "models/wordpiece.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void encode(const mcs_wordpiece *w, const char *text)
{
    int64_t ids[64];
    int count = 0;
    if (mcs_wordpiece_encode(w, text, 64, ids, &count, NULL) != MCS_OK || count < 2 || count > 64)
        abort();
    for (int i = 0; i < 64; i++)
        if (!mcs_wordpiece_token(w, ids[i]))
            abort();
    if (mcs_wordpiece_encode_caption(w, text, 64, ids, &count, NULL) != MCS_OK)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char head[] = "[PAD]\n[UNK]\n[CLS]\n[SEP]\na\n##b\n\xC3\xA9\n";
    const uint8_t *cut = size ? memchr(data, 0xFF, size) : NULL;
    size_t tail = cut ? (size_t)(cut - data) : 0, n = size - tail;
    char *vocab = malloc(sizeof head + tail), *text = malloc(n + 1);
    if (vocab && text) {
        memcpy(vocab, head, sizeof head - 1);
        memcpy(vocab + sizeof head - 1, data, tail);
        memcpy(text, data + tail, n);
        text[n] = '\0';
        mcs_wordpiece *w = mcs_wordpiece_parse(vocab, sizeof head - 1 + tail, "fuzz", NULL);
        if (w)
            encode(w, text);
        mcs_wordpiece_free(w);
        mcs_wordpiece_free(mcs_wordpiece_parse(text, n, "fuzz", NULL));
    }
    free(vocab);
    free(text);
    return 0;
}
