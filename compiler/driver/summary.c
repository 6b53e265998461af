/* compiler/driver/summary.c -- sizes, exactness, counts of every mode, and whether plans win. */
#include "compiler/driver/summary.h"

#include "compiler/driver/tensors.h"
#include "passes/heads.h"

#include <inttypes.h>
#include <string.h>

/* ---- texts ----------------------------------------------------------------------------------- */

static bool has_note(const SnlAttrValue *notes, const char *note)
{
    for (size_t i = 0; notes && notes->kind == SNL_ATTR_LIST && i < notes->list.n; i++)
        if (strcmp(notes->list.at[i].s, note) == 0) return true;
    return false;
}

static bool belongs_to_some_func(const SnlModule *m, const char *note)
{
    for (const SnlFunc *f = m->first; f; f = f->next)
        if (has_note(snl_attr_find(&f->attrs, "exactness"), note)) return true;
    return false;
}

const char *snl_graph_exactness(SnlArena *arena, const SnlFunc *func)
{
    const SnlAttrValue *notes = snl_attr_find(&func->module->attrs, "exactness");
    const SnlAttrValue *own = snl_attr_find(&func->attrs, "exactness");
    const char *text = "";
    for (size_t i = 0; notes && notes->kind == SNL_ATTR_LIST && i < notes->list.n; i++) {
        const char *note = notes->list.at[i].s;
        if (has_note(own, note) || !belongs_to_some_func(func->module, note))
            text = snl_arena_printf(arena, "%s%s%s", text, *text ? ", " : "", note);
    }
    return *text ? text : "exact";
}

const char *snl_payload_format(SnlArena *arena, const SnlModule *m, const SnlPayload *payload)
{
    const bool *is_head = snl_head_weights(arena, m);
    int64_t nbytes[2][SNL_DTYPE_COUNT] = {0};
    SnlDtype most[2] = {SNL_F32, SNL_F32}; /* of layers and embedding, of the head */
    bool any[2] = {false, false};
    for (size_t i = 0; i < payload->n; i++) {
        const SnlPackedWeight *w = &payload->at[i];
        if (w->layout == SNL_LAYOUT_PLAIN) continue;
        SnlDtype dtype = w->weight->type->dtype;
        bool head = is_head[w->weight->id];
        any[head] = true;
        nbytes[head][dtype] += w->nbytes;
        if (nbytes[head][dtype] > nbytes[head][most[head]]) most[head] = dtype;
    }
    if (!any[false]) return snl_dtype_info[most[true]].text;
    if (!any[true] || most[true] == most[false]) return snl_dtype_info[most[false]].text;
    return snl_arena_printf(arena, "%s, head %s", snl_dtype_info[most[false]].text,
                            snl_dtype_info[most[true]].text);
}

const char *snl_bytes_text(SnlArena *arena, int64_t nbytes)
{
    static const char *const unit[] = {"bytes", "KiB", "MiB", "GiB"};
    double x = (double)nbytes;
    size_t u = 0;
    for (; x >= 1024.0 && u + 1 < sizeof unit / sizeof *unit; u++) x /= 1024.0;
    return snl_arena_printf(arena, u ? "%.1f %s" : "%.0f %s", x, unit[u]);
}

/* Bytes of the states that the functions use, in order of declaration; returns how many. */
static size_t state_sizes(SnlArena *arena, const SnlFunc *const *funcs, size_t n, int64_t **out)
{
    const SnlModule *m = funcs[0]->module;
    size_t found = 0;
    const bool *used = snl_func_states(arena, funcs, n);
    *out = SNL_NEW_ARRAY(arena, int64_t, m->states.n + 1);
    for (size_t i = 0; i < m->states.n; i++)
        if (used[i]) (*out)[found++] = snl_state_bytes(m->states.at[i]);
    return found;
}

const char *snl_state_sum_text(SnlArena *arena, const SnlFunc *const *funcs, size_t n)
{
    int64_t *size, sum = 0;
    size_t n_states = state_sizes(arena, funcs, n, &size);
    const char *terms = "";
    for (size_t i = 0; i < n_states; i++) {
        int64_t count = 0;
        bool first = true;
        for (size_t k = 0; k < n_states; k++) {
            if (size[k] != size[i]) continue;
            count++;
            first = first && k >= i;
        }
        sum += size[i];
        if (first)
            terms = snl_arena_printf(arena, "%s%s%" PRId64 " of %s", terms, *terms ? " + " : "",
                                     count, snl_bytes_text(arena, size[i]));
    }
    return snl_arena_printf(arena, "%s (%s)", snl_bytes_text(arena, sum), terms);
}

/* ---- one mode -------------------------------------------------------------------------------- */

typedef struct Printer {
    FILE *out;
    SnlArena *arena;
    const SnlSummary *s;
    const SnlCompilation *c;
    SnlStepCost sequential; /* what plans are compared with */
    bool has_sequential;
} Printer;

static void print_counts(const Printer *p, size_t i)
{
    const SnlPlanCounts *n = &p->c->counts[i];
    const SnlPlan *plan = &p->c->modes.list.at[i].plan;
    if (!n->layers) return;
    if (plan->windows.n == 0) {
        fprintf(p->out, "    steps    %" PRId64 " layers, one after the other\n", n->layers);
        return;
    }
    fprintf(p->out,
            "    steps    %" PRId64 " one after the other (sequential: %" PRId64 "), %" PRId64
            " layer evaluations per token (%.2f x sequential)%s\n",
            n->steps, n->layers, n->layer_evals, (double)n->layer_evals / (double)n->layers,
            plan->kv_corrected ? ", then keys and values of the window once more" : "");
}

static void print_step(const Printer *p, const SnlGraphSpec *graph, const SnlStepCost *cost)
{
    int64_t stages = snl_attr_int(&graph->prefill->attrs, "stages", 1);
    int64_t block = snl_attr_int(&graph->prefill->attrs, "tokens", 0);
    fprintf(p->out, "    barriers %" PRId64 " per decoded token", cost->barriers);
    if (p->has_sequential && p->sequential.barriers != cost->barriers)
        fprintf(p->out, " (sequential: %" PRId64 ")", p->sequential.barriers);
    fprintf(p->out,
            ", imbalance %.1f %% on %d threads, waiting %.1f %% of a token's modelled time "
            "(%.1f us, caches half full); %" PRId64 " per prefill block of %" PRId64 "\n",
            100.0 * snl_cost_imbalance(cost), (int)SNL_MODEL_THREADS,
            0.1 * (double)snl_cost_waiting_permille(cost), 1e6 * snl_cost_own_seconds(cost),
            stages > 0 ? stages - 1 : 0, block);
    fprintf(p->out,
            "    per token %s of weights, up to %s of caches; %.2f MFLOP, up to %.2f more in "
            "attention\n",
            snl_bytes_text(p->arena, cost->weight_bytes),
            snl_bytes_text(p->arena, cost->cache_bytes), (double)cost->flops * 1e-6,
            (double)cost->attention_flops * 1e-6);
}

/* Seconds that something adds to what a token took `before`, or saves; small ones go unsaid. */
static void print_change(FILE *out, double change, double before, const char *what)
{
    double size = change < 0 ? -change : change;
    if (size > 0.005 * before)
        fprintf(out, ", %s %s %.1f us", what, change > 0 ? "add" : "save", 1e6 * size);
}

/* "wins 1.20x" and why. Modelled: the words say so. */
static void print_verdict(const Printer *p, const SnlStepCost *cost)
{
    const SnlStepCost *seq = &p->sequential;
    int64_t most = seq->weight_bytes > cost->weight_bytes ? seq->weight_bytes : cost->weight_bytes;
    const SnlCostModel *model = snl_cost_model(most + cost->cache_bytes / 2);
    double before = snl_cost_seconds(model, seq), after = snl_cost_seconds(model, cost);
    double waiting = (double)(seq->barriers - cost->barriers) * model->barrier_seconds;
    int64_t more =
        cost->weight_bytes - seq->weight_bytes + (cost->cache_bytes - seq->cache_bytes) / 2;
    double bytes = (double)more / model->bytes_per_second;
    double ratio = after > 0 ? before / after : 1.0;
    const char *word = ratio > 1.02 ? "wins" : ratio < 0.98 ? "loses" : "makes little difference:";
    fprintf(p->out,
            "    modelled %s %.2fx against sequential: barriers %s %.1f us of %.1f us per token",
            word, ratio, waiting >= 0 ? "save" : "add", 1e6 * (waiting < 0 ? -waiting : waiting),
            1e6 * before);
    print_change(p->out, bytes, before, bytes > 0 ? "more bytes to read" : "fewer bytes to read");
    print_change(p->out, after - before + waiting - bytes, before,
                 "shares, calls and what is handed over");
    fprintf(p->out,
            "\n             (not measured: two threads, %.0f ns per barrier, %.0f GB/s from %s; "
            "--bench and `snlpc eval` measure)\n",
            1e9 * model->barrier_seconds, 1e-9 * model->bytes_per_second, model->level);
}

/* The larger need of the two steps, which take turns in one workspace. */
static const char *larger(const Printer *p, const SnlGraphSpec *graph, const char *key)
{
    int64_t decode = snl_attr_int(&graph->decode->attrs, key, 0);
    int64_t prefill = snl_attr_int(&graph->prefill->attrs, key, 0);
    return snl_bytes_text(p->arena, decode > prefill ? decode : prefill);
}

static void print_mode(const Printer *p, size_t i)
{
    const SnlGraphSpec *graph = &p->c->graphs[i];
    const SnlFunc *both[] = {graph->decode, graph->prefill};
    SnlStepCost cost = snl_step_cost(graph->decode, &p->c->payload, SNL_MODEL_THREADS);
    fprintf(p->out, "  mode %s%s: plan %s\n    function %s\n", graph->name,
            i == 0 && p->c->modes.list.n > 1 ? " (default)" : "", graph->plan, graph->exactness);
    print_counts(p, i);
    fprintf(p->out, "    caches   %s\n",
            graph->state_bytes ? snl_state_sum_text(p->arena, both, 2) : "none");
    fprintf(p->out, "    workspace %s, and %s for each thread\n", larger(p, graph, "shared_bytes"),
            larger(p, graph, "private_bytes"));
    print_step(p, graph, &cost);
    if (p->c->modes.list.at[i].plan.windows.n && p->has_sequential) print_verdict(p, &cost);
}

/* ---- the program ----------------------------------------------------------------------------- */

static void find_sequential(Printer *p)
{
    if (p->s->sequential) p->sequential = *p->s->sequential;
    p->has_sequential = p->s->sequential != NULL;
    for (size_t i = 0; i < p->c->modes.list.n && !p->has_sequential; i++) {
        if (p->c->modes.list.at[i].plan.windows.n || p->c->options->pipeline.text) continue;
        p->sequential = snl_step_cost(p->c->graphs[i].decode, &p->c->payload, SNL_MODEL_THREADS);
        p->has_sequential = true;
    }
}

void snl_summary_print(FILE *out, const SnlSummary *s)
{
    const SnlCompilation *c = s->compilation;
    Printer p = {.out = out, .arena = snl_arena_create(), .s = s, .c = c};
    find_sequential(&p);
    fprintf(out, "%s: %s, %" PRId64 " parameters, context %" PRId64 "\n", s->path, c->spec.family,
            c->spec.n_params, c->spec.context);
    fprintf(out, "  size       program %s, weights %s (%s), ",
            snl_bytes_text(p.arena, s->program_bytes), snl_bytes_text(p.arena, c->payload.nbytes),
            c->spec.weight_format);
    if (c->tokenizer_nbytes)
        fprintf(out, "tokenizer %s\n", snl_bytes_text(p.arena, (int64_t)c->tokenizer_nbytes));
    else
        fputs("no tokenizer: it works on token ids (--ids)\n", out);
    snl_tensors_print(out, c->model.module, &c->payload, s->written, s->each_tensor);
    for (size_t i = 0; i < c->modes.list.n; i++) print_mode(&p, i);
    fprintf(out, "  compiled   in %.2f s\n", s->seconds);
    snl_arena_destroy(p.arena);
}
