/* parity_tokens.c - tokenises records for tokenizer.py.
 *   parity_tokens VOCAB plain|caption|clean MAX_LEN < records > answers
 * A record is a 32-bit length and that many bytes of text (host byte order).  An answer is a
 * 32-bit count and that many 32-bit ids; in mode clean, a length and the cleaned text. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "models/caption.h"
#include "models/wordpiece.h"

static int fail(const mcs_error *e)
{
    fprintf(stderr, "parity_tokens: %s\n", e->message);
    return 1;
}

static void put_ids(const int64_t *ids, int count)
{
    fwrite(&count, sizeof count, 1, stdout);
    for (int i = 0; i < count; i++) {
        int32_t id = (int32_t)ids[i];
        fwrite(&id, sizeof id, 1, stdout);
    }
}

static mcs_status answer(const mcs_wordpiece *w, const char *mode, const char *text, int max_len,
                         int64_t *ids, mcs_error *e)
{
    int count = 0;
    if (!strcmp(mode, "clean")) {
        char *clean = mcs_caption_clean(text, e);
        if (!clean)
            return e->status;
        count = (int)strlen(clean);
        fwrite(&count, sizeof count, 1, stdout);
        fwrite(clean, 1, (size_t)count, stdout);
        free(clean);
        return MCS_OK;
    }
    mcs_status s = !strcmp(mode, "plain")
                       ? mcs_wordpiece_encode(w, text, max_len, ids, &count, e)
                       : mcs_wordpiece_encode_caption(w, text, max_len, ids, &count, e);
    if (s == MCS_OK)
        put_ids(ids, count);
    return s;
}

int main(int argc, char **argv)
{
    mcs_error e = { MCS_OK, "" };
    int max_len = argc == 4 ? atoi(argv[3]) : 0;
    if (max_len < 2 || max_len > 1 << 20) {
        fprintf(stderr, "usage: parity_tokens VOCAB plain|caption|clean MAX_LEN\n");
        return 2;
    }
    mcs_wordpiece *w = mcs_wordpiece_load(argv[1], &e);
    int64_t *ids = malloc((size_t)max_len * sizeof *ids);
    if (!w || !ids)
        return fail(&e);
    for (int32_t n; fread(&n, sizeof n, 1, stdin) == 1 && n >= 0;) {
        char *text = malloc((size_t)n + 1);
        if (!text || fread(text, 1, (size_t)n, stdin) != (size_t)n)
            return fail(&e);
        text[n] = '\0';
        if (answer(w, argv[2], text, max_len, ids, &e) != MCS_OK)
            return fail(&e);
        free(text);
    }
    free(ids);
    mcs_wordpiece_free(w);
    return 0;
}
