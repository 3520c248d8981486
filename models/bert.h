/* bert.h - BERT's encoder (Devlin et al. 2019, arXiv 1810.04805) in transformers' naming.
 *
 * Taps: "<ns>.embeddings", and for every layer i "<ns>.encoder.layer.i" and below it
 * .attention.self (.query .key .value .probs), .attention.output (.dense .LayerNorm),
 * .intermediate.dense, .output.dense, .output.LayerNorm. */
#ifndef MCS_BERT_H
#define MCS_BERT_H
#include "nn/nn.h"

typedef struct {
    int vocab; /* rows of the word embedding: 30522 */
    int positions; /* longest sequence: 512 */
    int types; /* token types; only row 0 is used: 2 */
    int dim, depth, heads; /* 768, 12, 12; heads divides dim */
    int mlp_dim; /* 3072 */
} mcs_bert_config;

typedef struct mcs_bert mcs_bert;

/* MCS_EINVAL names the field that is out of range. */
mcs_status mcs_bert_check(const mcs_bert_config *cfg, mcs_error *e) MCS_MUST_CHECK;
/* Declares the weights under ns ("text.transformer"; the root for a BertModel's own file); the
 * store owns the model.  cfg must have passed mcs_bert_check().  NULL: the store's status. */
mcs_bert *mcs_bert_new(mcs_ns ns, const mcs_bert_config *cfg);

/* ids I64 (B,N), mask U8 (B,N): 1 token, 0 padding -> last hidden state (B,N,C), = transformers
 * BertModel(ids, mask).last_hidden_state at the real tokens (at padding it is of no use).
 * Nullable: mask (all are tokens).  MCS_ESHAPE: shapes or more than `positions` tokens.
 * MCS_EINVAL: an id outside the embedding (a vocabulary of another model). */
mcs_tensor *mcs_bert_hidden(mcs_ctx *c, const mcs_bert *m, const mcs_tensor *ids,
                            const mcs_tensor *mask);
/* The first token ([CLS]) of it, (B,C): the last layer is computed for that token only. */
mcs_tensor *mcs_bert_cls(mcs_ctx *c, const mcs_bert *m, const mcs_tensor *ids,
                         const mcs_tensor *mask);
#endif
