/* ir/base/diag.h -- located messages for users' mistakes.
 *
 *     model.snl:14:22: error[E0202]: linear: inner sizes differ: found 4095, wanted 4096 (...)
 *        14 |   %y = linear %h, @w : f32[T, 32]
 *           |                   ^~
 *     model.snl:9:3: note: '@w' is defined here
 *
 * Messages are printed at once, in the order of report. A message says what was found, what was
 * wanted and what to do. Thread-compatible: one SnlDiag per thread. */
#ifndef SNL_BASE_DIAG_H
#define SNL_BASE_DIAG_H

#include "ir/base/arena.h"
#include "ir/base/status.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

typedef enum SnlDiagKind {
#define DIAG(NAME, id, STATUS, text) SNL_E_##NAME,
#include "ir/base/diag.def"
#undef DIAG
    SNL_DIAG_KIND_COUNT
} SnlDiagKind;

/* A text that locations point into. `text` need not be NUL-terminated. */
typedef struct SnlSource {
    const char *name; /* as the user spelt it; printed */
    const char *text;
    size_t len;
} SnlSource;

/* A place. source == NULL: no place. With source->text == NULL only the name is printed. */
typedef struct SnlLoc {
    const SnlSource *source;
    uint32_t offset, length;
} SnlLoc;
#define SNL_NO_LOC ((SnlLoc){NULL, 0, 0})

typedef struct SnlDiag SnlDiag;

/* On such a terminal every message begins with SNL_WIPE: the line may hold a bar that says how far
 * the work has come (the cursor stands at its begin). */
#define SNL_WIPE "\033[K"
bool snl_can_wipe(FILE *out);

/* `out` NULL: messages are only counted and kept (tests). Stops printing after max_errors (0:
 * 20). */
SnlDiag *snl_diag_create(FILE *out, unsigned max_errors);
void snl_diag_destroy(SnlDiag *diag);

/* Report; returns the kind's status, so `return snl_error(...)` is the idiom. */
SnlStatus snl_error(SnlDiag *diag, SnlDiagKind kind, SnlLoc loc, const char *fmt, ...)
    SNL_PRINTF(4, 5);
/* For places that are not texts: `place` is printed as it is ("config.json: $.rope_scaling.type",
 * "model.safetensors+0x1a40: tensor 'x'"). NULL prints "snlpc". */
SnlStatus snl_error_at(SnlDiag *diag, SnlDiagKind kind, const char *place, const char *fmt, ...)
    SNL_PRINTF(4, 5);
void snl_warning(SnlDiag *diag, SnlLoc loc, const char *fmt, ...) SNL_PRINTF(3, 4);
void snl_note(SnlDiag *diag, SnlLoc loc, const char *fmt, ...) SNL_PRINTF(3, 4);

unsigned snl_diag_errors(const SnlDiag *diag);
/* All messages so far as one string (owned by diag); what tests look at. */
const char *snl_diag_text(const SnlDiag *diag);

/* 1-based line and column of an offset. */
void snl_source_position(const SnlSource *source, uint32_t offset, unsigned *out_line,
                         unsigned *out_column);

#endif
