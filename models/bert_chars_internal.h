/* bert_chars_internal.h - how BERT's basic tokeniser classifies characters. */
#ifndef MCS_BERT_CHARS_INTERNAL_H
#define MCS_BERT_CHARS_INTERNAL_H
#include <stdbool.h>
#include <stdint.h>

bool mcs_bert_dropped(int32_t c); /* NUL, U+FFFD, control, format and private-use */
bool mcs_bert_space(int32_t c); /* of those that are not dropped */
bool mcs_bert_cjk(int32_t c); /* an ideograph: a word of its own */
bool mcs_bert_accent(int32_t c); /* a non-spacing mark (Mn) */
bool mcs_bert_punctuation(int32_t c); /* ASCII symbols and Unicode category P */
#endif
