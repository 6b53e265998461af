/* ir/ops.c -- the op table as data, and look-ups in it. */
#include "ir/ir.h"

#include <string.h>

#define PURE SNL_PURE
#define EFFECT SNL_EFFECT
#define ELTWISE SNL_ELTWISE
#define ROWWISE SNL_ROWWISE
#define CALLS SNL_CALLS
#define TERMINATOR SNL_TERMINATOR

const SnlOpInfo snl_op_info[SNL_OP_COUNT] = {
#define OP(NAME, text, min_in, max_in, symbols, n_out, flags, rule)                                \
    {text, min_in, max_in, symbols, n_out, flags},
#include "ir/ops.def"
#undef OP
};

bool snl_op_find(const char *text, size_t n, SnlOpCode *out)
{
    for (int code = 0; code < SNL_OP_COUNT; code++) {
        const char *name = snl_op_info[code].text;
        if (strlen(name) == n && memcmp(name, text, n) == 0) {
            *out = (SnlOpCode)code;
            return true;
        }
    }
    return false;
}

char snl_op_group_letter(SnlOpCode code, int g)
{
    for (const char *p = snl_op_info[code].symbols; *p; p++) {
        if (*p == '?') continue;
        if (g-- == 0) return *p;
    }
    return 0;
}
