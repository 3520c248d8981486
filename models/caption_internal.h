/* caption_internal.h - the pieces of mcs_caption_clean(). */
#ifndef MCS_CAPTION_INTERNAL_H
#define MCS_CAPTION_INTERNAL_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A growing NUL-terminated string; `failed` once memory ran out. */
typedef struct {
    char *s;
    size_t len, cap;
    bool failed;
} mcs_text;

void mcs_text_put(mcs_text *b, const char *s, size_t n);
void mcs_text_put_code(mcs_text *b, int32_t c); /* in UTF-8; 0: nothing */
/* The character at s, U+FFFD for a byte that is not UTF-8; returns the bytes read. */
size_t mcs_text_take(const char *s, size_t n, int32_t *c);
int32_t mcs_text_from_c1(int32_t c); /* C1 control as Windows-1252 */

/* out += s with its character references replaced: as html.unescape(), or by ftfy's stricter
 * rule (unescape_html()). */
void mcs_html_unescape(mcs_text *out, const char *s, size_t n);
void mcs_html_unescape_strict(mcs_text *out, const char *s, size_t n);
#endif
