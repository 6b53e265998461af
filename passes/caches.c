/* passes/caches.c -- the format in which keys and values are kept.
 *
 *     state @kv.0 : f32[2, 2, 128, 8]
 *
 * becomes with kv=f16
 *
 *     state @kv.0 : f16[2, 2, 128, 8]
 *
 * Every cache of the module, those of a window's sweeps as well. Attention and kv_write follow the
 * type: keys and values, own ones too, are rounded to it. `auto` keeps caches that are narrow
 * already, and otherwise gives f32 when all matrices are stored as f32, f16 when one is not: so it
 * comes after pack. The module records `rounds(kv=f16)` when a cache was wider before. */
#include "passes/pass.h"

#include <string.h>

static bool find_format(const char *text, SnlDtype *out)
{
    return snl_dtype_find(text, strlen(text), out) &&
           (*out == SNL_F32 || *out == SNL_F16 || *out == SNL_Q8_0);
}

static SnlPassResult run(SnlModule *m, SnlPassContext *ctx)
{
    const char *wanted = snl_pass_text(ctx, "kv");
    bool natural = strcmp(wanted, "auto") == 0, changed = false, rounded = false;
    SnlDtype dtype = natural ? snl_module_cache_format(m) : SNL_F32;
    if (!natural && !find_format(wanted, &dtype)) {
        snl_error_at(ctx->diag, SNL_E_PIPELINE, "caches",
                     "format: found '%s', wanted auto, f32, f16 or q8_0", wanted);
        return SNL_PASS_FAILED;
    }
    for (size_t i = 0; i < m->states.n; i++) {
        SnlState *s = m->states.at[i];
        bool keep = s->type->rank != 4 || s->type->dtype == dtype;
        if (keep || (natural && s->type->dtype != SNL_F32)) continue;
        rounded = rounded || dtype != SNL_F32;
        s->type = snl_type(m, dtype, s->type->rank, s->type->dim);
        changed = true;
    }
    if (rounded)
        snl_module_note_exactness(
            m, snl_arena_printf(ctx->scratch, "rounds(kv=%s)", snl_dtype_info[dtype].text));
    return changed ? SNL_PASS_CHANGED : SNL_PASS_SAME;
}

static const SnlPassOption options[] = {
    {"kv", SNL_OPTION_TEXT, "auto", 0, 0,
     "format of keys and values: f32, f16, q8_0, or auto (f32 if all matrices are, else f16)"},
    {0}};

const SnlPass snl_pass_caches = {
    .name = "caches",
    .summary = "stored formats of keys and values",
    .exactness = SNL_ROUNDS,
    .options = options,
    .run = run,
};
