/* compiler/driver/stages.c -- work and time of stages, side by side. */
#include "compiler/driver/stages.h"

#include "compiler/driver/eval_report.h" /* snl_json_string */
#include "compiler/driver/summary.h"
#include "passes/schedule.h"

#include <inttypes.h>
#include <string.h>

/* ---- work ------------------------------------------------------------------------------------ */

typedef struct Counter {
    SnlArena *arena;
    const SnlPayload *payload;
    const SnlTiming *how;
    int64_t pos;
    bool one_row; /* form for one token */
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

static SnlDotUnit dot_unit(const Counter *c, const SnlOp *op)
{
    if (snl_in(op, 0)->type->dtype == SNL_Q8_0) return SNL_DOT_INT8;
    return !c->one_row && snl_linear_takes_pairs(op) ? SNL_DOT_BF16 : SNL_DOT_F32;
}

/* `rows` of them. */
static void count_weights(Counter *c, const SnlOp *op, int64_t rows, SnlStageWork *work)
{
    if (op->code == SNL_OP_LINEAR && dot_unit(c, op) > work->dot) work->dot = dot_unit(c, op);
    for (int g = 0; g < SNL_MAX_GROUPS; g++) {
        if (snl_op_group_letter(op->code, g) != 'w') continue;
        for (size_t i = 0; i < op->sym[g].n; i++) {
            const SnlWeight *w = op->sym[g].weight[i];
            int64_t nbytes = c->payload->at[c->payload->index_of_weight[w->id]].nbytes;
            bool looked_up = op->code == SNL_OP_EMBED && g == 0;
            work->weight_bytes += looked_up ? nbytes / snl_weight_rows(w) * rows : nbytes;
            if (op->code == SNL_OP_LINEAR && g == 0)
                work->flops += 2 * snl_weight_rows(w) * snl_weight_cols(w) * rows;
        }
    }
}

/* Each of the last `rows` sees what lies before it, within its window. */
static void count_attention(Counter *c, const SnlOp *op, int64_t rows, SnlStageWork *work)
{
    const int64_t n_tokens = c->how->n_tokens;
    int64_t heads = snl_attr_int(&op->attrs, "heads", 1);
    for (size_t m = 0; m < op->sym[0].n; m++) {
        const SnlState *state = op->sym[0].state[m];
        int64_t context = state->type->dim[2], width = state->type->dim[3], seen = 0;
        int64_t window = snl_attr_int_at(&op->attrs, "window", m, context - 1);
        for (int64_t t = n_tokens - rows; t < n_tokens; t++) {
            int64_t before = c->pos + t < window ? c->pos + t : window;
            seen += before + 1;
        }
        int64_t last = c->pos + n_tokens < context ? c->pos + n_tokens : context;
        work->cache_bytes += snl_state_bytes(state) / context * last;
        work->attention_flops += 4 * heads * width * seen;
        work->flops += 4 * heads * width * seen;
    }
}

/* The walk of codegen/step.c: a barrier wherever the stage of an op with code of its own is another
 * than that of the one before. */
SnlStageTable snl_stage_table(SnlArena *arena, const SnlFunc *func, const SnlPayload *payload,
                              const SnlTiming *how, int64_t pos)
{
    Counter c = {.arena = arena,
                 .payload = payload,
                 .how = how,
                 .pos = pos,
                 .one_row = snl_attr_int(&func->attrs, "tokens", 1) == 1};
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
        int64_t rows = p.tail && how->last_row ? 1 : how->n_tokens;
        if (rows > work.rows) work.rows = rows;
        count_weights(&c, op, rows, &work);
        if (snl_op_attends(op)) count_attention(&c, op, rows, &work);
    }
    SNL_PUSH(arena, &c.stages, work);
    return (SnlStageTable){c.stages.at, c.stages.n};
}

/* ---- table ----------------------------------------------------------------------------------- */

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

static SnlStageWork sum_of(const SnlStageTable *table)
{
    SnlStageWork all = {.what = "all"};
    for (size_t i = 0; i < table->n; i++) {
        all.weight_bytes += table->at[i].weight_bytes;
        all.cache_bytes += table->at[i].cache_bytes;
        all.flops += table->at[i].flops;
    }
    return all;
}

static bool is_shown(const SnlStageReport *r, size_t i)
{
    const SnlStageWork *work = &r->table.at[i];
    return *work->what && (r->only < 0 || work->stage == r->only);
}

static double waiting_of(const SnlStageReport *r)
{
    double sum = 0;
    for (size_t i = 0; i < r->table.n; i++) sum += r->times.waiting[i];
    return sum;
}

static void print_heading(FILE *out, SnlArena *arena, const SnlStageReport *r)
{
    const SnlTiming *how = &r->how;
    const char *threads = how->n_threads == 1
                              ? "one thread"
                              : snl_arena_printf(arena, "%" PRId64 " threads", how->n_threads);
    fprintf(out, "@%s, T = %" PRId64 ": %s, medians of %" PRId64, r->func, how->n_tokens, threads,
            r->times.n_calls);
    if (how->cold)
        fprintf(out, " calls, before each of which %d MiB of other memory are read\n",
                SNL_COLD_MIB);
    else
        fputs(" calls in a row (what fits stays in the CPU's caches)\n", out);
}

void snl_stages_print(FILE *out, const SnlStageReport *r)
{
    SnlArena *arena = snl_arena_create();
    SnlStageWork all = sum_of(&r->table);
    print_heading(out, arena, r);
    fprintf(out, "stage         us   share     weights      caches      MFLOP     GB/s   GFLOP/s  "
                 "operations\n");
    for (size_t i = 0; i < r->table.n; i++)
        if (is_shown(r, i))
            print_row(out, arena, snl_arena_printf(arena, "%" PRId64, r->table.at[i].stage),
                      &r->table.at[i], r->times.seconds[i], r->times.whole);
    if (r->only < 0) print_row(out, arena, "", &all, r->times.whole, r->times.whole);
    if (r->how.n_threads > 1 && r->times.whole > 0)
        fprintf(out, "a thread waits %.1f %% of the time at the ends of stages\n",
                100.0 * waiting_of(r) / r->times.whole);
    snl_arena_destroy(arena);
}

/* ---- JSON ------------------------------------------------------------------------------------ */

/* null: the stage has no linear. */
static const char *dot_json(SnlDotUnit unit)
{
    static const char *const text[] = {[SNL_DOT_NONE] = "null",
                                       [SNL_DOT_INT8] = "\"int8\"",
                                       [SNL_DOT_BF16] = "\"bf16\"",
                                       [SNL_DOT_F32] = "\"f32\""};
    return text[unit];
}

static void print_json_stage(FILE *out, const SnlStageReport *r, size_t i)
{
    const SnlStageWork *work = &r->table.at[i];
    fprintf(out, "{\"index\": %" PRId64 ", \"ops\": ", work->stage);
    snl_json_string(out, work->what);
    fprintf(out,
            ", \"rows\": %" PRId64
            ", \"us\": %.3f, \"waiting_us\": %.3f, \"weight_bytes\": %" PRId64
            ", \"cache_bytes\": %" PRId64 ", \"flops\": %" PRId64 ", \"attention_flops\": %" PRId64
            ", \"dot\": %s}",
            work->rows, 1e6 * r->times.seconds[i], 1e6 * r->times.waiting[i], work->weight_bytes,
            work->cache_bytes, work->flops, work->attention_flops, dot_json(work->dot));
}

void snl_stages_print_json(FILE *out, const SnlStageReport *r)
{
    fputs("{\"function\": ", out);
    snl_json_string(out, r->func);
    fprintf(out,
            ", \"T\": %" PRId64 ", \"pos\": %" PRId64 ", \"threads\": %" PRId64
            ", \"cold\": %s, \"calls\": %" PRId64 ", \"us\": %.3f, \"waiting_us\": %.3f, "
            "\"stages\": [",
            r->how.n_tokens, r->pos, r->how.n_threads, r->how.cold ? "true" : "false",
            r->times.n_calls, 1e6 * r->times.whole, 1e6 * waiting_of(r));
    const char *separator = "";
    for (size_t i = 0; i < r->table.n; i++) {
        if (!is_shown(r, i)) continue;
        fputs(separator, out);
        print_json_stage(out, r, i);
        separator = ", ";
    }
    fputs("]}\n", out);
}
