/* compiler/driver/eval_report.c -- one row for each plan. */
#include "compiler/driver/eval_report.h"

#include "compiler/driver/summary.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

void snl_json_string(FILE *out, const char *text)
{
    fputc('"', out);
    for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
        if (*c == '"' || *c == '\\')
            fprintf(out, "\\%c", *c);
        else if (*c < 0x20)
            fprintf(out, "\\u%04x", *c);
        else
            fputc(*c, out);
    }
    fputc('"', out);
}

static double mean(double sum, int64_t n)
{
    return n > 0 ? sum / (double)n : 0.0;
}

static double perplexity(const SnlEvalResult *r)
{
    return exp(mean(r->nll, r->n_scored));
}

static double agreement(const SnlEvalResult *r)
{
    return mean((double)r->agree, r->n_scored);
}

static double greedy_equal(const SnlEvalResult *r)
{
    return mean((double)r->greedy_equal, r->n_greedy);
}

static double greedy_most(const SnlEvalResult *r)
{
    return mean((double)r->greedy_most, r->n_greedy);
}

/* How many times faster than sequential; 0: not measured. */
static double speedup(double sequential, double plan)
{
    return plan > 0 ? sequential / plan : 0.0;
}

static double rate(double seconds)
{
    return seconds > 0 ? 1.0 / seconds : 0.0;
}

/* ---- table
 * ------------------------------------------------------------------------------------------ */

static int plan_width(const SnlEvalReport *report)
{
    size_t width = strlen("plan");
    for (int64_t g = 0; g < report->program->model->n_graphs; g++) {
        size_t n = strlen(report->program->model->graphs[g].plan);
        if (n > width) width = n;
    }
    return (int)width;
}

static void print_head(FILE *out, const SnlEvalReport *report, int width)
{
    const SnlEvalResult *r = &report->results[0];
    int64_t context = snlrt_session_context(report->program->session[0]);
    int64_t n_tokens = (int64_t)report->text->ids.n;
    fprintf(out,
            "%s, %s weights; %s: %zu tokens, %" PRId64 " window%s of %" PRId64 ", %" PRId64
            " scored%s\n",
            report->program->model->name, report->program->model->weight_format, report->text_path,
            report->text->ids.n, r->n_windows, r->n_windows == 1 ? "" : "s",
            n_tokens < context ? n_tokens : context, r->n_scored,
            report->skip_half ? " (second halves)" : "");
    fprintf(out, "KL in nats per token; greedy: equal tokens before the first other one, of %.0f",
            greedy_most(r));
    if (r->n_runs)
        fprintf(out,
                "; tokens/s on %" PRId64 " thread%s, medians of %d rounds (decode %" PRId64
                " tokens, prefill %" PRId64 ")",
                snlrt_session_threads(report->program->session[0]),
                snlrt_session_threads(report->program->session[0]) == 1 ? "" : "s", r->n_runs,
                r->n_decode, r->n_prefill);
    fprintf(out,
            "\n\n%-*s  perplexity  against seq        KL    agree  greedy  evals  steps  barriers",
            width, "plan");
    if (r->n_runs) fputs("    decode       x   prefill       x", out);
    fputc('\n', out);
}

static void print_row(FILE *out, const SnlEvalReport *report, int64_t g, int width)
{
    const SnlrtGraph *graph = &report->program->model->graphs[g];
    const SnlEvalResult *seq = &report->results[0], *r = &report->results[g];
    double change = 100.0 * (perplexity(r) / perplexity(seq) - 1.0);
    fprintf(
        out,
        "%-*s  %10.4f  %+10.2f %%  %8.5f  %5.1f %%  %6.1f  %5" PRId64 "  %5" PRId64 "  %8" PRId64,
        width, graph->plan, perplexity(r), change, mean(r->kl, r->n_scored), 100.0 * agreement(r),
        greedy_equal(r), graph->layer_evals, graph->steps, graph->decode_barriers);
    if (r->n_runs)
        fprintf(out, "  %8.1f  %6.2f  %8.1f  %6.2f", rate(r->decode_seconds),
                speedup(seq->decode_seconds, r->decode_seconds), rate(r->prefill_seconds),
                speedup(seq->prefill_seconds, r->prefill_seconds));
    fputc('\n', out);
}

void snl_eval_print_table(FILE *out, const SnlEvalReport *report)
{
    int width = plan_width(report);
    print_head(out, report, width);
    for (int64_t g = 0; g < report->program->model->n_graphs; g++) print_row(out, report, g, width);
    for (int64_t g = 0; g < report->program->model->n_graphs; g++)
        if (report->program->model->graphs[g].flags & SNLRT_GRAPH_PROMPT)
            fprintf(out,
                    "%s: prompts run sequentially (prefill=seq); scored token by token, as it "
                    "generates\n",
                    report->program->model->graphs[g].plan);
}

/* ---- JSON
 * ------------------------------------------------------------------------------------------- */

static void print_times(FILE *out, const SnlEvalResult *seq, const SnlEvalResult *r)
{
    if (!r->n_runs) return;
    fprintf(out,
            ", \"decode_tokens_per_second\": %.3f, \"decode_speedup\": %.4f"
            ", \"prefill_tokens_per_second\": %.3f, \"prefill_speedup\": %.4f",
            rate(r->decode_seconds), speedup(seq->decode_seconds, r->decode_seconds),
            rate(r->prefill_seconds), speedup(seq->prefill_seconds, r->prefill_seconds));
}

static void print_plan(FILE *out, const SnlEvalReport *report, int64_t g)
{
    const SnlrtGraph *graph = &report->program->model->graphs[g];
    const SnlEvalResult *r = &report->results[g];
    fputs("{\"name\": ", out);
    snl_json_string(out, graph->name);
    fputs(", \"plan\": ", out);
    snl_json_string(out, graph->plan);
    fputs(", \"exactness\": ", out);
    snl_json_string(out, graph->exactness);
    fprintf(out,
            ", \"perplexity\": %.9g, \"mean_nll\": %.9g, \"kl\": %.9g, \"agreement\": %.9g"
            ", \"greedy_match\": %.3f, \"greedy_length\": %.3f, \"layer_evals\": %" PRId64
            ", \"steps\": %" PRId64 ", \"decode_barriers\": %" PRId64
            ", \"prefill_barriers\": %" PRId64 ", \"state_bytes\": %" PRId64,
            perplexity(r), mean(r->nll, r->n_scored), mean(r->kl, r->n_scored), agreement(r),
            greedy_equal(r), greedy_most(r), graph->layer_evals, graph->steps,
            graph->decode_barriers, graph->prefill_barriers, graph->state_bytes);
    print_times(out, &report->results[0], r);
    fputc('}', out);
}

void snl_eval_print_json(FILE *out, const SnlEvalReport *report)
{
    const SnlrtModel *m = report->program->model;
    const SnlEvalResult *r = &report->results[0];
    fputs("{\"model\": ", out);
    snl_json_string(out, m->name);
    fputs(", \"weight_format\": ", out);
    snl_json_string(out, m->weight_format);
    fputs(", \"text\": ", out);
    snl_json_string(out, report->text_path);
    fprintf(out,
            ", \"tokens\": %zu, \"windows\": %" PRId64 ", \"scored\": %" PRId64
            ", \"context\": %" PRId64 ", \"skip_half\": %s, \"threads\": %" PRId64
            ", \"rounds\": %d, \"plans\": [",
            report->text->ids.n, r->n_windows, r->n_scored,
            snlrt_session_context(report->program->session[0]),
            report->skip_half ? "true" : "false",
            snlrt_session_threads(report->program->session[0]), r->n_runs);
    for (int64_t g = 0; g < m->n_graphs; g++) {
        if (g) fputs(", ", out);
        print_plan(out, report, g);
    }
    fputs("]}\n", out);
}
