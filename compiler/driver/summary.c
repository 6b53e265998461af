/* compiler/driver/summary.c -- sizes, exactness, steps and barriers of a compiled program. */
#include "compiler/driver/summary.h"

#include <inttypes.h>

const char *snl_exactness_text(SnlArena *arena, const SnlModule *m)
{
    const SnlAttrValue *notes = snl_attr_find(&m->attrs, "exactness");
    const char *text = "";
    for (size_t i = 0; notes && notes->kind == SNL_ATTR_LIST && i < notes->list.n; i++)
        text = snl_arena_printf(arena, "%s%s%s", text, i ? ", " : "", notes->list.at[i].s);
    return *text ? text : "exact";
}

const char *snl_payload_format(const SnlPayload *payload)
{
    int64_t nbytes[SNL_DTYPE_COUNT] = {0};
    SnlDtype most = SNL_F32;
    for (size_t i = 0; i < payload->n; i++) {
        const SnlPackedWeight *w = &payload->at[i];
        if (w->layout != SNL_LAYOUT_PANELS) continue;
        SnlDtype dtype = w->weight->type->dtype;
        nbytes[dtype] += w->nbytes;
        if (nbytes[dtype] > nbytes[most]) most = dtype;
    }
    return snl_dtype_info[most].text;
}

/* "6.1 MiB" with a unit that leaves 1 to 4 digits. */
static void print_bytes(FILE *out, int64_t nbytes)
{
    static const char *const unit[] = {"bytes", "KiB", "MiB", "GiB"};
    double x = (double)nbytes;
    size_t u = 0;
    for (; x >= 1024.0 && u + 1 < sizeof unit / sizeof *unit; u++) x /= 1024.0;
    fprintf(out, u ? "%.1f %s" : "%.0f %s", x, unit[u]);
}

static void print_graph(FILE *out, const SnlGraphSpec *graph, int64_t n_layers)
{
    int64_t decode = snl_attr_int(&graph->decode->attrs, "stages", 0);
    int64_t prefill = snl_attr_int(&graph->prefill->attrs, "stages", 0);
    int64_t block = snl_attr_int(&graph->prefill->attrs, "tokens", 0);
    fprintf(out, "  graph      %s: %s", graph->name, graph->exactness);
    if (n_layers) fprintf(out, ", %" PRId64 " sequential steps of one layer", n_layers);
    fprintf(out,
            "\n  stages     decode %" PRId64 " (%" PRId64 " barriers), prefill %" PRId64
            " for blocks of %" PRId64 " tokens (%" PRId64 " barriers)\n",
            decode, decode ? decode - 1 : 0, prefill, block, prefill ? prefill - 1 : 0);
}

void snl_summary_print(FILE *out, const SnlSummary *s)
{
    const SnlProgramSpec *spec = s->spec;
    fprintf(out, "%s: %s, %" PRId64 " parameters, context %" PRId64 "\n", s->path, spec->family,
            spec->n_params, spec->context);
    fputs("  size       program ", out);
    print_bytes(out, s->program_bytes);
    fputs(", weights ", out);
    print_bytes(out, s->payload->nbytes);
    fprintf(out, " (%s)", spec->weight_format);
    if (s->tokenizer_bytes) {
        fputs(", tokenizer ", out);
        print_bytes(out, s->tokenizer_bytes);
    } else {
        fputs(", no tokenizer: it works on token ids (--ids)", out);
    }
    fputc('\n', out);
    for (size_t i = 0; i < spec->n_graphs; i++) print_graph(out, &spec->graphs[i], s->n_layers);
    fprintf(out, "  compiled   in %.2f s\n", s->seconds);
}
