/* compiler/driver/ir_file.c -- IR text and the source of its weights. */
#include "compiler/driver/ir_file.h"

#include "compiler/frontend/weight_files.h"
#include "ir/base/file.h"
#include "runtime/output.h"

#include <string.h>

enum { MAX_IR_BYTES = 256 << 20 };

SnlStatus snl_ir_file_open(SnlArena *arena, const char *path, bool random, uint64_t seed,
                           SnlDiag *diag, SnlIrFile *out)
{
    *out = (SnlIrFile){0};
    bool is_stdin = strcmp(path, "-") == 0;
    if (is_stdin && snlrt_input_closed())
        return snl_error_at(diag, SNL_E_USAGE, "standard input",
                            "found it closed, wanted IR text: pipe it in, or name a .snl file");
    SnlSource *source = SNL_NEW(arena, SnlSource);
    SNL_TRY(snl_file_read(arena, is_stdin ? "/dev/stdin" : path, MAX_IR_BYTES, diag, source));
    if (is_stdin) source->name = "<stdin>";
    SNL_TRY(snl_parse(arena, source, diag, &out->module));
    if (!is_stdin) out->module->base_dir = snl_path_dir(arena, path);
    out->source =
        random ? snl_random_source_create(arena, seed)
               : snl_weight_files_source(snl_weight_files_create(arena, out->module->base_dir));
    return SNL_OK;
}

void snl_ir_file_close(SnlIrFile *file)
{
    if (file->source && file->source->destroy) file->source->destroy(file->source);
    *file = (SnlIrFile){0};
}
