/* wordpiece.h - BERT's uncased tokeniser: text to vocabulary ids (Devlin et al. 2019).
 *
 * The ids equal those of transformers' BertTokenizer (do_lower_case, strip_accents null) for
 * every Unicode string; tests/parity/tokenizer.py measures it.  open_clip cleans a caption
 * before it tokenises: that is mcs_caption_clean() (caption.h), and
 * mcs_wordpiece_encode_caption() does both, as BiomedCLIP was trained. */
#ifndef MCS_WORDPIECE_H
#define MCS_WORDPIECE_H
#include <stddef.h>
#include <stdint.h>
#include "tensor/status.h"

typedef struct mcs_wordpiece mcs_wordpiece; /* read-only once loaded: threads may share it */

/* Limits against hostile files and texts. */
#define MCS_VOCAB_MAX_BYTES (INT64_C(64) << 20)
#define MCS_VOCAB_MAX_TOKENS (INT64_C(1) << 20)

typedef enum {
    MCS_TOKEN_PAD, /* "[PAD]" */
    MCS_TOKEN_UNK, /* "[UNK]" */
    MCS_TOKEN_CLS, /* "[CLS]" */
    MCS_TOKEN_SEP, /* "[SEP]" */
    MCS_TOKEN_MASK /* "[MASK]": a vocabulary may do without */
} mcs_special_token;

/* Reads vocab.txt: UTF-8, one token a line, the id is the line's index from 0; lines end in
 * \n, \r\n or \r; a byte order mark is skipped; of a token that stands twice the last line
 * counts, as in Python's loader.  MCS_EFORMAT: too large, not UTF-8, a NUL byte, or one of
 * [PAD] [UNK] [CLS] [SEP] missing.  The caller frees it.  NULL: see e. */
mcs_wordpiece *mcs_wordpiece_load(const char *path, mcs_error *e);
/* The same from memory, which is copied; `name` stands for the file in messages. */
mcs_wordpiece *mcs_wordpiece_parse(const void *bytes, size_t size, const char *name, mcs_error *e);
void mcs_wordpiece_free(mcs_wordpiece *w); /* Nullable */

int64_t mcs_wordpiece_size(const mcs_wordpiece *w); /* number of ids */
const char *mcs_wordpiece_token(const mcs_wordpiece *w, int64_t id); /* NULL: no such id */
int64_t mcs_wordpiece_id(const mcs_wordpiece *w, const char *token); /* -1: not there */
int64_t mcs_wordpiece_special(const mcs_wordpiece *w, mcs_special_token t); /* -1: not there */

/* ids = [CLS] + pieces, cut to max_len - 2, + [SEP], then [PAD] up to max_len; *count is the
 * number of ids before the padding (Nullable).  BERT's rules: control characters are dropped;
 * whitespace, punctuation and CJK characters separate; accents are stripped and letters lowered;
 * each word is matched greedily, longest piece first; a word that cannot be matched or has
 * more than 100 characters is [UNK].  A special token's name written in the text ("[SEP]", upper
 * case) becomes that token, as it does in transformers.  Bytes that are not UTF-8 count as
 * U+FFFD, which BERT drops.  MCS_EINVAL: a NULL argument or max_len < 2. */
mcs_status mcs_wordpiece_encode(const mcs_wordpiece *w, const char *utf8, int max_len, int64_t *ids,
                                int *count, mcs_error *e) MCS_MUST_CHECK;
/* The same of mcs_caption_clean(utf8): what open_clip feeds BiomedCLIP. */
mcs_status mcs_wordpiece_encode_caption(const mcs_wordpiece *w, const char *utf8, int max_len,
                                        int64_t *ids, int *count, mcs_error *e) MCS_MUST_CHECK;
#endif
