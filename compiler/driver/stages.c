/* compiler/driver/stages.c -- work and time of stages, side by side. */
#include "compiler/driver/stages.h"

#include "compiler/driver/summary.h"
#include "passes/schedule.h"

#include <inttypes.h>
#include <string.h>

/* ---- work ---------------------------------------------------------------------------------------
 */

typedef struct Counter {
    SnlArena *arena;
    const SnlPayload *payload;
    int64_t n_tokens, pos;
    SnlVec(SnlStageWork) stages;
} Counter;

static const char *op_text(SnlArena *arena, const SnlOp *op)
{
    const char *name = snl_op_info[op->code].text;
    if (op->code != SNL_OP_LINEAR) return name;
    const SnlType *w = snl_op_weight(op, 0)->type;
    const char *members = op->sym[0].n > 1 ? snl_arena_printf(arena, "%zu of ", op->sym[0].n) : "";
    return snl_arena_printf(arena, "%s %s%" PRId64 "x%" PRId64 " %s", name, members, w->dim[0],
                            w->dim[1], snl_dtype_info[w->dtype].text);
}

/* Is `text` one of the operations in "a, b, c"? */
static bool is_listed(const char *list, const char *text)
{
    size_t n = strlen(text);
    for (const char *at = list; (at = strstr(at, text)); at += n)
        if ((at == list || at[-1] == ' ') && (at[n] == ',' || !at[n])) return true;
    return false;
}

static void count_weights(Counter *c, const SnlOp *op, SnlStageWork *work)
{
    for (int g = 0; g < SNL_MAX_GROUPS; g++) {
        if (snl_op_group_letter(op->code, g) != 'w') continue;
        for (size_t i = 0; i < op->sym[g].n; i++) {
            const SnlWeight *w = op->sym[g].weight[i];
            int64_t nbytes = c->payload->at[c->payload->index_of_weight[w->id]].nbytes;
            bool rows = op->code == SNL_OP_EMBED && g == 0;
            work->weight_bytes += rows ? nbytes / snl_weight_rows(w) * c->n_tokens : nbytes;
            if (op->code == SNL_OP_LINEAR && g == 0)
                work->flops += 2 * snl_weight_rows(w) * snl_weight_cols(w) * c->n_tokens;
        }
    }
}

/* Every row sees what lies before it, within its window. */
static void count_attention(Counter *c, const SnlOp *op, SnlStageWork *work)
{
    int64_t heads = snl_attr_int(&op->attrs, "heads", 1);
    for (size_t m = 0; m < op->sym[0].n; m++) {
        const SnlState *state = op->sym[0].state[m];
        int64_t context = state->type->dim[2], width = state->type->dim[3], seen = 0;
        int64_t window = snl_attr_int_at(&op->attrs, "window", m, context - 1);
        for (int64_t t = 0; t < c->n_tokens; t++) {
            int64_t before = c->pos + t < window ? c->pos + t : window;
            seen += before + 1;
        }
        int64_t last = c->pos + c->n_tokens < context ? c->pos + c->n_tokens : context;
        work->cache_bytes += snl_state_bytes(state) / context * last;
        work->flops += 4 * heads * width * seen;
    }
}

/* The walk of codegen/step.c: a barrier wherever the stage of an op with code of its own is another
 * than that of the one before. */
SnlStageTable snl_stage_table(SnlArena *arena, const SnlFunc *func, const SnlPayload *payload,
                              int64_t n_tokens, int64_t pos)
{
    Counter c = {.arena = arena, .payload = payload, .n_tokens = n_tokens, .pos = pos};
    SnlStageWork work = {.what = ""};
    for (const SnlOp *op = func->first; op != func->last; op = op->next) {
        SnlPlacement p;
        if (!snl_placement_read(op, &p) || p.split == SNL_SPLIT_VIEW) continue;
        if (p.stage != work.stage) {
            SNL_PUSH(arena, &c.stages, work);
            work = (SnlStageWork){.stage = p.stage, .what = ""};
        }
        const char *text = op_text(arena, op);
        if (!is_listed(work.what, text))
            work.what = snl_arena_printf(arena, "%s%s%s", work.what, *work.what ? ", " : "", text);
        count_weights(&c, op, &work);
        if (snl_op_attends(op)) count_attention(&c, op, &work);
    }
    SNL_PUSH(arena, &c.stages, work);
    return (SnlStageTable){c.stages.at, c.stages.n};
}

/* ---- table --------------------------------------------------------------------------------------
 */

static void print_row(FILE *out, SnlArena *arena, const char *stage, const SnlStageWork *work,
                      double seconds, double whole)
{
    double bytes = (double)(work->weight_bytes + work->cache_bytes);
    fprintf(out, "%5s %10.2f %5.1f %% %11s %11s %10.3f %8.1f %9.1f  %s\n", stage, 1e6 * seconds,
            whole > 0 ? 100.0 * seconds / whole : 0.0, snl_bytes_text(arena, work->weight_bytes),
            snl_bytes_text(arena, work->cache_bytes), 1e-6 * (double)work->flops,
            seconds > 0 ? 1e-9 * bytes / seconds : 0.0,
            seconds > 0 ? 1e-9 * (double)work->flops / seconds : 0.0, work->what);
}

void snl_stages_print(FILE *out, const SnlStageTable *table, const SnlStageTimes *times,
                      int64_t only)
{
    SnlArena *arena = snl_arena_create();
    SnlStageWork all = {.what = "all"};
    fprintf(out, "stage         us   share     weights      caches      MFLOP     GB/s   GFLOP/s  "
                 "operations\n");
    for (size_t i = 0; i < table->n; i++) {
        const SnlStageWork *work = &table->at[i];
        all.weight_bytes += work->weight_bytes;
        all.cache_bytes += work->cache_bytes;
        all.flops += work->flops;
        if (!*work->what || (only >= 0 && work->stage != only)) continue;
        print_row(out, arena, snl_arena_printf(arena, "%" PRId64, work->stage), work,
                  times->seconds[i], times->whole);
    }
    if (only < 0) print_row(out, arena, "", &all, times->whole, times->whole);
    snl_arena_destroy(arena);
}
