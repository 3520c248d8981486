/* bert_dump.c - runs a BERT checkpoint (transformers' names) on texts for bert.py.
 *
 * usage: bert_dump CHECKPOINT PREFIX VOCAB TEXTS OUTPUT VOCAB_ROWS POSITIONS DIM DEPTH HEADS MLP
 * TEXTS: one a line.  OUTPUT: safetensors with ids (T,N) and hidden (T,N,C); all texts run as one
 * batch with a mask. */
#define PROGRAM "bert_dump"
#include "models/bert.h"
#include "models/wordpiece.h"
#include "tests/parity/parity.h"

enum { TEXTS_MAX = 256, LENGTH_MAX = 256 };

static mcs_bert *load(mcs_params *p, char **argv)
{
    static const char *const ignore[] = { "position_ids", "pooler.dense.weight",
                                          "pooler.dense.bias", NULL };
    mcs_bert_config cfg = { atoi(argv[6]),  atoi(argv[7]), 2, atoi(argv[8]), atoi(argv[9]),
                            atoi(argv[10]), atoi(argv[11]) };
    mcs_error e = { MCS_OK, "" };
    if (mcs_bert_check(&cfg, &e))
        die(e.message);
    mcs_bert *m = mcs_bert_new(mcs_root(p), &cfg);
    mcs_checkpoint *k = mcs_checkpoint_open(argv[1], &e);
    if (!k || mcs_params_load(p, k, argv[2], ignore, MCS_LOAD_STRICT, &e))
        die(e.message);
    mcs_checkpoint_close(k);
    return m;
}

/* (T,N), N the longest text's length */
static mcs_tensor *tokens(mcs_ctx *c, const char *vocab, const char *path)
{
    static int64_t all[TEXTS_MAX][LENGTH_MAX];
    mcs_error e = { MCS_OK, "" };
    mcs_wordpiece *w = mcs_wordpiece_load(vocab, &e);
    FILE *f = fopen(path, "r");
    char *line = NULL;
    size_t cap = 0;
    int count = 0, longest = 0;
    if (!w || !f)
        die(w ? "cannot open the texts" : e.message);
    for (; count < TEXTS_MAX && getline(&line, &cap, f) >= 0; count++) {
        int n = 0;
        line[strcspn(line, "\n")] = '\0';
        if (mcs_wordpiece_encode(w, line, LENGTH_MAX, all[count], &n, &e))
            die(e.message);
        longest = n > longest ? n : longest;
    }
    free(line);
    fclose(f);
    mcs_wordpiece_free(w);
    mcs_tensor *ids = mcs_new_typed(c, MCS_I64, 2, MCS_SHAPE(count, longest));
    for (int i = 0; ids && i < count; i++)
        memcpy(mcs_i64(ids) + (int64_t)i * longest, all[i], (size_t)longest * sizeof(int64_t));
    return ids;
}

int main(int argc, char **argv)
{
    static dump out;
    if (argc != 12)
        die("usage: bert_dump CHECKPOINT PREFIX VOCAB TEXTS OUTPUT VOCAB_ROWS POSITIONS DIM DEPTH "
            "HEADS MLP");
    mcs_params *p = mcs_params_new();
    mcs_bert *m = load(p, argv);
    mcs_pool *pool = mcs_pool_new(0);
    mcs_ctx *c = mcs_ctx_new(&(mcs_ctx_opts){ .pool = pool });
    mcs_tensor *ids = tokens(c, argv[3], argv[4]);
    mcs_tensor *mask = mcs_new_typed(c, MCS_U8, 2, ids->shape);
    for (int64_t i = 0; i < mcs_numel(ids); i++)
        mcs_u8(mask)[i] = mcs_i64(ids)[i] != 0;
    mcs_tensor *y = mcs_bert_hidden(c, m, ids, mask);
    if (!y)
        die(mcs_ctx_message(c));
    enter(&out, "ids", ids);
    enter(&out, "hidden", y);
    write_dump(argv[5], &out);
    mcs_ctx_free(c);
    mcs_pool_free(pool);
    mcs_params_free(p);
    return 0;
}
