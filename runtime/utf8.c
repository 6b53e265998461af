/* runtime/utf8.c -- strict UTF-8 (Unicode standard, table 3-7). */
#include "runtime/utf8.h"

/* Length that a lead byte announces and the range of the byte after it; 0: no lead byte. */
static int lead(uint8_t byte, uint8_t *out_low, uint8_t *out_high)
{
    *out_low = 0x80;
    *out_high = 0xBF;
    if (byte < 0x80) return 1;
    if (byte < 0xC2) return 0;
    if (byte < 0xE0) return 2;
    if (byte < 0xF0) {
        if (byte == 0xE0) *out_low = 0xA0;
        if (byte == 0xED) *out_high = 0x9F;
        return 3;
    }
    if (byte > 0xF4) return 0;
    if (byte == 0xF0) *out_low = 0x90;
    if (byte == 0xF4) *out_high = 0x8F;
    return 4;
}

int snlrt_utf8_decode(const char *text, size_t nbytes, uint32_t *out_code)
{
    uint8_t first = (uint8_t)text[0], low, high;
    int need = lead(first, &low, &high);
    *out_code = first;
    if (need == 1) return 1;
    if (need == 0) return -1;
    uint32_t code = first & (0xFFu >> (need + 1));
    for (int i = 1; i < need; i++) {
        if ((size_t)i == nbytes) return 0;
        uint8_t byte = (uint8_t)text[i];
        if (byte < low || byte > high) return -i;
        code = code << 6 | (byte & 0x3Fu);
        low = 0x80;
        high = 0xBF;
    }
    *out_code = code;
    return need;
}

bool snlrt_utf8_valid(const char *text, size_t nbytes)
{
    for (size_t at = 0; at < nbytes;) {
        uint32_t code;
        int n = snlrt_utf8_decode(text + at, nbytes - at, &code);
        if (n <= 0) return false;
        at += (size_t)n;
    }
    return true;
}

unsigned snlrt_utf8_encode(uint32_t code, char out[4])
{
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    unsigned n = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (unsigned i = n - 1; i > 0; i--) {
        out[i] = (char)(0x80 | (code & 0x3F));
        code >>= 6;
    }
    out[0] = (char)((0xF0u << (4 - n)) | code);
    return n;
}

bool snlrt_utf8_is_space(uint32_t code)
{
    return (code >= 0x09 && code <= 0x0D) || code == 0x20 || code == 0x85 || code == 0xA0 ||
           code == 0x1680 || (code >= 0x2000 && code <= 0x200A) || code == 0x2028 ||
           code == 0x2029 || code == 0x202F || code == 0x205F || code == 0x3000;
}
