/* IR text: parse any bytes; what parses must print, parse again and print the same. */
#include "ir/ir.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void print_dots(const SnlModule *m)
{
    char *text = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&text, &n);
    if (!out) abort();
    for (const SnlFunc *f = m->first; f; f = f->next) snl_print_dot(f, out);
    fclose(out);
    free(text);
}

static void check_round_trip(SnlArena *arena, SnlDiag *diag, const SnlModule *m)
{
    const char *first = snl_print_to_string(arena, m);
    SnlSource source = {"printed", first, strlen(first)};
    SnlModule *again = NULL;
    if (snl_parse(arena, &source, diag, &again) != SNL_OK) abort();
    if (strcmp(snl_print_to_string(arena, again), first) != 0) abort();
    print_dots(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    SnlArena *arena = snl_arena_create();
    SnlDiag *diag = snl_diag_create(NULL, 0);
    SnlSource source = {"fuzz", (const char *)data, size};
    SnlModule *m = NULL;
    if (snl_parse(arena, &source, diag, &m) == SNL_OK) {
        check_round_trip(arena, diag, m);
    } else if (snl_diag_errors(diag) == 0) {
        abort();
    }
    snl_diag_destroy(diag);
    snl_arena_destroy(arena);
    return 0;
}
