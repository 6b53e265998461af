/* compiler/driver/eval_report.c -- one row for each format and plan. */
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

/* ---- table ----------------------------------------------------------------------------------- */

/* Several formats: rows say which, and how large it is. */
static bool has_formats(const SnlEvalSet *set)
{
    return set->n_programs > 1;
}

static const char *plan_of(const SnlEvalRow *row)
{
    return row->graph->plan;
}

static const char *format_of(const SnlEvalRow *row)
{
    return row->program->model->weight_format;
}

static int64_t weight_bytes_of(const SnlEvalRow *row)
{
    return (int64_t)row->program->payload.footer.weights_bytes;
}

static int column_width(const SnlEvalSet *set, const char *head,
                        const char *(*text_of)(const SnlEvalRow *))
{
    size_t width = strlen(head);
    for (size_t i = 0; i < set->n_rows; i++) {
        size_t n = strlen(text_of(&set->row[i]));
        if (n > width) width = n;
    }
    return (int)width;
}

void snl_eval_print_caches(FILE *out, const SnlEvalSet *set)
{
    int plan = column_width(set, "", plan_of), format = column_width(set, "", format_of);
    for (size_t i = 0; i < set->n_rows; i++) {
        const SnlEvalRow *row = &set->row[i];
        const SnlGraphSpec *graph =
            &row->program->c.graphs[row->graph - row->program->model->graphs];
        const SnlFunc *both[] = {graph->decode, graph->prefill};
        fprintf(out, "%-8s ", i ? "" : "caches");
        if (has_formats(set)) fprintf(out, "%-*s  ", format, format_of(row));
        fprintf(out, "%-*s  %s\n", plan, plan_of(row), snl_state_sum_text(set->arena, both, 2));
    }
    fputc('\n', out);
}

static void print_text_line(FILE *out, const SnlEvalReport *report)
{
    const SnlEvalResult *r = &report->results[0];
    const SnlEvalRow *first = &report->set->row[0];
    int64_t context = snlrt_session_context(first->session);
    int64_t n_tokens = (int64_t)report->text->ids.n;
    fprintf(out, "%s", first->program->model->name);
    if (!has_formats(report->set)) fprintf(out, ", %s weights", format_of(first));
    fprintf(out,
            "; %s: %zu tokens, %" PRId64 " window%s of %" PRId64 ", %" PRId64 " scored%s\n",
            report->text_path, report->text->ids.n, r->n_windows, r->n_windows == 1 ? "" : "s",
            n_tokens < context ? n_tokens : context, r->n_scored,
            report->skip_half ? " (second halves)" : "");
}

static void print_head(FILE *out, const SnlEvalReport *report)
{
    const SnlEvalResult *r = &report->results[0];
    int64_t threads = snlrt_session_threads(report->set->row[0].session);
    print_text_line(out, report);
    fprintf(out, "KL in nats per token; greedy: equal tokens before the first other one, of %.0f",
            greedy_most(r));
    if (r->n_runs)
        fprintf(out,
                "; tokens/s on %" PRId64 " thread%s, medians of %d rounds (decode %" PRId64
                " tokens, prefill %" PRId64 ")",
                threads, threads == 1 ? "" : "s", r->n_runs, r->n_decode, r->n_prefill);
    fputs(has_formats(report->set) ? "; all against the first row\n\n" : "\n\n", out);
    if (has_formats(report->set))
        fprintf(out, "%-*s        size  ", column_width(report->set, "weights", format_of),
                "weights");
    fprintf(out, "%-*s  perplexity  against %s        KL    agree  greedy  evals  steps  barriers",
            column_width(report->set, "plan", plan_of), "plan",
            has_formats(report->set) ? "1st" : "seq");
    if (r->n_runs) fputs("    decode       x   prefill       x", out);
    fputc('\n', out);
}

static void print_format(FILE *out, const SnlEvalReport *report, const SnlEvalRow *row)
{
    if (!has_formats(report->set)) return;
    fprintf(out, "%-*s  %10s  ", column_width(report->set, "weights", format_of), format_of(row),
            snl_bytes_text(report->set->arena, weight_bytes_of(row)));
}

static void print_row(FILE *out, const SnlEvalReport *report, size_t i)
{
    const SnlEvalRow *row = &report->set->row[i];
    const SnlrtGraph *graph = row->graph;
    const SnlEvalResult *seq = &report->results[0], *r = &report->results[i];
    double change = 100.0 * (perplexity(r) / perplexity(seq) - 1.0);
    print_format(out, report, row);
    fprintf(
        out,
        "%-*s  %10.4f  %+10.2f %%  %8.5f  %5.1f %%  %6.1f  %5" PRId64 "  %5" PRId64 "  %8" PRId64,
        column_width(report->set, "plan", plan_of), graph->plan, perplexity(r), change,
        mean(r->kl, r->n_scored), 100.0 * agreement(r), greedy_equal(r), graph->layer_evals,
        graph->steps, graph->decode_barriers);
    if (r->n_runs)
        fprintf(out, "  %8.1f  %6.2f  %8.1f  %6.2f", rate(r->decode_seconds),
                speedup(seq->decode_seconds, r->decode_seconds), rate(r->prefill_seconds),
                speedup(seq->prefill_seconds, r->prefill_seconds));
    fputc('\n', out);
}

void snl_eval_print_table(FILE *out, const SnlEvalReport *report)
{
    const SnlEvalSet *set = report->set;
    print_head(out, report);
    for (size_t i = 0; i < set->n_rows; i++) print_row(out, report, i);
    for (size_t i = 0; i < set->n_rows / set->n_programs; i++)
        if (set->row[i].graph->flags & SNLRT_GRAPH_PROMPT)
            fprintf(out,
                    "%s: prompts run sequentially (prefill=seq); scored token by token, as it "
                    "generates\n",
                    set->row[i].graph->plan);
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static void print_times(FILE *out, const SnlEvalResult *seq, const SnlEvalResult *r)
{
    if (!r->n_runs) return;
    fprintf(out,
            ", \"decode_tokens_per_second\": %.3f, \"decode_speedup\": %.4f"
            ", \"prefill_tokens_per_second\": %.3f, \"prefill_speedup\": %.4f",
            rate(r->decode_seconds), speedup(seq->decode_seconds, r->decode_seconds),
            rate(r->prefill_seconds), speedup(seq->prefill_seconds, r->prefill_seconds));
}

static void print_plan(FILE *out, const SnlEvalReport *report, size_t i)
{
    const SnlEvalRow *row = &report->set->row[i];
    const SnlrtGraph *graph = row->graph;
    const SnlEvalResult *r = &report->results[i];
    fputs("{\"name\": ", out);
    snl_json_string(out, graph->name);
    fputs(", \"plan\": ", out);
    snl_json_string(out, graph->plan);
    fputs(", \"weight_format\": ", out);
    snl_json_string(out, format_of(row));
    fprintf(out, ", \"weight_bytes\": %" PRId64, weight_bytes_of(row));
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
    const SnlEvalRow *first = &report->set->row[0];
    const SnlrtModel *m = first->program->model;
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
            snlrt_session_context(first->session),
            report->skip_half ? "true" : "false",
            snlrt_session_threads(first->session), r->n_runs);
    for (size_t i = 0; i < report->set->n_rows; i++) {
        if (i) fputs(", ", out);
        print_plan(out, report, i);
    }
    fputs("]}\n", out);
}
