/* html_entities_internal.h - named character references of HTML 5. */
#ifndef MCS_HTML_ENTITIES_INTERNAL_H
#define MCS_HTML_ENTITIES_INTERNAL_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MCS_ENTITY_LONGEST = 32 }; /* bytes of the longest name and its semicolon */

typedef struct {
    const char *name; /* without '&' and ';' */
    uint32_t first, second; /* code points; second 0: only one.  first may carry: */
} mcs_html_entity;
#define MCS_ENTITY_BARE 0x80000000u /* valid without the semicolon too */

/* The entity of the n bytes at name; NULL if there is none. */
const mcs_html_entity *mcs_html_entity_find(const char *name, size_t n);
#endif
