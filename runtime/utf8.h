/* runtime/utf8.h -- UTF-8, one character at a time, strictly (no surrogates, no overlong forms). */
#ifndef SNLRT_UTF8_H
#define SNLRT_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Decodes the character at the beginning of text[0, nbytes), nbytes >= 1.
 *   n > 0: a whole character of n bytes, *out_code its code point;
 *   0:     the text ends inside a character that is right so far;
 *   n < 0: broken: -n bytes form a maximal beginning of some character, or one byte forms none;
 * this is the unit that conventional decoders replace by one U+FFFD. */
int snlrt_utf8_decode(const char *text, size_t nbytes, uint32_t *out_code);

/* Whether all of text[0, nbytes) is UTF-8. */
bool snlrt_utf8_valid(const char *text, size_t nbytes);

/* Bytes written, 1 to 4; `code` must be a scalar value. */
unsigned snlrt_utf8_encode(uint32_t code, char out[4]);

/* Unicode White_Space. */
bool snlrt_utf8_is_space(uint32_t code);

#define SNLRT_UTF8_REPLACEMENT "\xEF\xBF\xBD" /* U+FFFD */

#endif
