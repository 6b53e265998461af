/* runtime/about.c -- --about: what the program is, and what was done to the model's function. */
#include "runtime/program.h"

#include <inttypes.h>
#include <stdlib.h>

static const char *tokenizer_text(const SnlrtProgram *p)
{
    switch (snlrt_tokenizer_kind(p->tokenizer)) {
    case SNLRT_TOKENIZER_NONE:
        return "none";
    case SNLRT_TOKENIZER_BYTE:
        return "byte";
    case SNLRT_TOKENIZER_BPE:
        return "bpe";
    }
    return "none";
}

static void print_eos(FILE *out, const SnlrtModel *m, const char *between)
{
    for (int64_t i = 0; i < m->n_eos; i++) fprintf(out, "%s%" PRId64, i ? between : "", m->eos[i]);
}

static void print_graph_text(FILE *out, const SnlrtGraph *g, bool is_default)
{
    fprintf(out, "mode %s%s: plan %s\n", g->name, is_default ? " (default)" : "", g->plan);
    fprintf(out, "  function:  %s\n", g->exactness);
    if (g->layer_evals)
        fprintf(out,
                "  layers:    %" PRId64 " evaluated per token, in %" PRId64
                " steps one after the other\n",
                g->layer_evals, g->steps);
    fprintf(out, "  memory:    %.1f MiB of caches, %.1f KiB of workspace + %.1f KiB per thread\n",
            (double)g->state_bytes / (1024.0 * 1024.0), (double)g->shared_bytes / 1024.0,
            (double)g->private_bytes / 1024.0);
    fprintf(out, "  prompts:   in blocks of %" PRId64 "%s\n", g->prefill_block,
            g->flags & SNLRT_GRAPH_PROMPT ? ", through a function of their own" : "");
    fprintf(out, "  barriers:  %" PRId64 " per decoded token, %" PRId64 " per prefill block\n",
            g->decode_barriers, g->prefill_barriers);
    fprintf(out, "  waiting:   %.1f %% of a token's time at barriers (modelled, two threads)\n",
            0.1 * (double)g->decode_waiting);
}

/* Of the code that runs; "" when the program has no levels. */
static const char *level_name(const SnlrtModel *m)
{
    for (int64_t i = 0; i < m->n_levels; i++)
        if (m->levels[i].graphs == m->graphs) return m->levels[i].name;
    return "";
}

static void print_text(FILE *out, const SnlrtProgram *p)
{
    const SnlrtModel *m = p->model;
    fprintf(out, "model:      %s (%s), %" PRId64 " parameters\n", m->name, m->family, m->n_params);
    fprintf(out, "vocabulary: %" PRId64 " tokens; tokenizer: %s; end of sequence: ", m->vocab,
            tokenizer_text(p));
    print_eos(out, m, ", ");
    fprintf(out, "%s\n", m->n_eos ? "" : "none");
    fprintf(out, "context:    %" PRId64 " positions compiled, %" PRId64 " trained\n", m->context,
            m->trained_context);
    fprintf(out, "weights:    %s, %.1f MiB, id %016" PRIx64 "\n", m->weight_format,
            (double)p->payload.footer.weights_bytes / (1024.0 * 1024.0), (uint64_t)m->payload_id);
    fprintf(out, "compiled:   by %s for %s; needs %s\n", m->compiler, m->target,
            *m->cpu_features ? m->cpu_features : "no special processor features");
    if (m->n_levels > 1) {
        fputs("levels:    ", out);
        for (int64_t i = 0; i < m->n_levels; i++)
            fprintf(out, " %s%s", m->levels[i].name,
                    m->levels[i].graphs == m->graphs ? " (runs here)" : "");
        fputc('\n', out);
    }
    for (int64_t i = 0; i < m->n_graphs; i++) print_graph_text(out, &m->graphs[i], i == 0);
    for (int64_t i = 0; i < m->n_outputs; i++)
        fprintf(out, "%s%s%s", i ? " " : "states:     ", m->outputs[i].name,
                i + 1 == m->n_outputs ? "\n" : "");
}

static void json_field(FILE *out, const char *key, const char *value)
{
    fprintf(out, "\"%s\": ", key);
    snlrt_json_string(out, value);
    fputs(", ", out);
}

static void print_graph_json(FILE *out, const SnlrtGraph *g)
{
    fputc('{', out);
    json_field(out, "name", g->name);
    json_field(out, "plan", g->plan);
    json_field(out, "exactness", g->exactness);
    fprintf(out,
            "\"prefill_block\": %" PRId64 ", \"shared_bytes\": %" PRId64
            ", \"private_bytes\": %" PRId64 ", \"state_bytes\": %" PRId64
            ", \"decode_barriers\": %" PRId64 ", \"prefill_barriers\": %" PRId64
            ", \"layer_evals\": %" PRId64 ", \"steps\": %" PRId64
            ", \"decode_waiting\": %.3f, \"prompt_function\": %s}",
            g->prefill_block, g->shared_bytes, g->private_bytes, g->state_bytes, g->decode_barriers,
            g->prefill_barriers, g->layer_evals, g->steps, 0.001 * (double)g->decode_waiting,
            g->flags & SNLRT_GRAPH_PROMPT ? "true" : "false");
}

static void print_json(FILE *out, const SnlrtProgram *p)
{
    const SnlrtModel *m = p->model;
    fputc('{', out);
    json_field(out, "model", m->name);
    json_field(out, "family", m->family);
    json_field(out, "compiler", m->compiler);
    json_field(out, "target", m->target);
    json_field(out, "cpu_features", m->cpu_features);
    json_field(out, "level", level_name(m));
    json_field(out, "weight_format", m->weight_format);
    json_field(out, "tokenizer", tokenizer_text(p));
    fprintf(out,
            "\"parameters\": %" PRId64 ", \"vocab\": %" PRId64 ", \"context\": %" PRId64
            ", \"trained_context\": %" PRId64 ", \"weight_bytes\": %" PRIu64
            ", \"state_bytes\": %" PRId64 ", \"payload_id\": \"%016" PRIx64 "\", \"eos\": [",
            m->n_params, m->vocab, m->context, m->trained_context, p->payload.footer.weights_bytes,
            m->state_bytes, (uint64_t)m->payload_id);
    print_eos(out, m, ", ");
    fputs("], \"modes\": [", out);
    for (int64_t i = 0; i < m->n_graphs; i++) {
        if (i) fputs(", ", out);
        print_graph_json(out, &m->graphs[i]);
    }
    fputs("], \"states\": [", out);
    for (int64_t i = 0; i < m->n_outputs; i++) {
        if (i) fputs(", ", out);
        snlrt_json_string(out, m->outputs[i].name);
    }
    fputs("]}\n", out);
}

SnlrtStatus snlrt_program_about(SnlrtProgram *program, SnlrtError *err)
{
    char *text = NULL;
    size_t nbytes = 0;
    FILE *out = open_memstream(&text, &nbytes);
    if (!out) return snlrt_fail(err, SNLRT_MACHINE, "out of memory");
    if (program->options.json)
        print_json(out, program);
    else
        print_text(out, program);
    SnlrtStatus status = fclose(out) == 0 ? snlrt_program_print(text, nbytes, err)
                                          : snlrt_fail(err, SNLRT_MACHINE, "out of memory");
    free(text);
    return status;
}
