/* tests/numeric/test_exactness_law.c -- the law that needs no trained model.
 *
 * Whatever the surrogates, the damping and the first states: after k sweeps s_1..s_k are the states
 * of the sequential chain, and a window with as many sweeps as units is the sequential chain.
 * Hundreds of random models (biases, q/k norms, x0 blend, value embeddings, sliding windows,
 * grouped heads, streams), random plans, random splits of the text into calls; through the `newton`
 * op and through all passes that follow it. A failure names its seed. */
#include "tests/support/support.h"

#include "ir/eval.h"
#include "passes/pass.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PROGRAMS = 240, WIDTH = 8, CONTEXT = 24, TOKENS = 11, MAX_LAYERS = 6, VOCAB = 16 };
static const double limit = 1e-9;

typedef struct Rng {
    uint64_t x;
} Rng;

static uint64_t draw(Rng *r, uint64_t n)
{
    r->x = r->x * 6364136223846793005u + 1442695040888963407u;
    return (r->x >> 33) % n;
}

/* ---- random models -------------------------------------------------------------------------- */

typedef struct Model {
    int layers;
    bool bias, qk_norm, blend, ve, gated;
    int streams, kv_heads, window_of; /* window_of: this layer has one; -1: none */
} Model;

static Model random_model(Rng *r)
{
    Model m = {.layers = 2 + (int)draw(r, MAX_LAYERS - 1)};
    m.bias = draw(r, 2);
    m.qk_norm = draw(r, 2);
    m.streams = draw(r, 4) == 0 ? 2 : 0;
    m.blend = !m.streams && draw(r, 2);
    m.ve = draw(r, 2);
    m.gated = draw(r, 2);
    m.kv_heads = 1 + (int)draw(r, 2);
    m.window_of = (int)draw(r, 2 + (uint64_t)m.layers) - 2;
    return m;
}

typedef struct Text {
    SnlArena *arena;
    char *at;
} Text;

static void put(Text *t, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    char *more = snl_arena_vprintf(t->arena, fmt, args);
    va_end(args);
    t->at = snl_arena_printf(t->arena, "%s%s", t->at, more);
}

static void put_weight(Text *t, const char *name, int i, int rows, int cols)
{
    if (rows)
        put(t, "weight @%s%d : f32[%d, %d] = random {scale = 0.35, seed = 1}\n", name, i, rows,
            cols);
    else
        put(t, "weight @%s%d : f32[%d] = random {scale = 0.7, seed = 1}\n", name, i, cols);
}

static void put_weights(Text *t, const Model *m, int i)
{
    int kv = m->kv_heads * WIDTH / 2;
    put_weight(t, "g", i, 0, WIDTH);
    put_weight(t, "q", i, WIDTH, WIDTH);
    put_weight(t, "k", i, kv, WIDTH);
    put_weight(t, "v", i, kv, WIDTH);
    put_weight(t, "bq", i, 0, WIDTH);
    put_weight(t, "bk", i, 0, kv);
    put_weight(t, "bv", i, 0, kv);
    put_weight(t, "o", i, WIDTH, WIDTH);
    put_weight(t, "ve", i, VOCAB, kv);
    put_weight(t, "gate", i, m->kv_heads, 4);
    put_weight(t, "f", i, 0, WIDTH);
    put_weight(t, "up", i, 12, WIDTH);
    put_weight(t, "wide", i, 12, WIDTH);
    put_weight(t, "down", i, WIDTH, 12);
    put_weight(t, "r", i, 0, 1);
    put_weight(t, "l", i, 0, 1);
    put_weight(t, "diag", i, 0, WIDTH);
    for (int s = 0; s < 2 && m->streams; s++) {
        put_weight(t, s ? "mres" : "ares", i, m->streams, m->streams);
        put_weight(t, s ? "mpre" : "apre", i, 1, m->streams);
        put_weight(t, s ? "mpost" : "apost", i, m->streams, 1);
    }
    if (m->streams)
        put(t, "weight @j%d : f32[%d, %d] = matmul(@mres%d, @ares%d)\n", i, m->streams, m->streams,
            i, i);
    put(t, "state @kv.%d : f32[2, %d, %d, %d]\n", i, m->kv_heads, CONTEXT, WIDTH / 2);
}

/* %n, the normed input, to %o. */
static void put_attention(Text *t, const Model *m, int i)
{
    int kv = m->kv_heads * WIDTH / 2;
    put(t, "  %%q = linear %%n, @q%d%s : f32[T, %d]\n", i,
        m->bias ? snl_arena_printf(t->arena, ", @bq%d", i) : "", WIDTH);
    put(t, "  %%k = linear %%n, @k%d%s : f32[T, %d]\n", i,
        m->bias ? snl_arena_printf(t->arena, ", @bk%d", i) : "", kv);
    put(t, "  %%v0 = linear %%n, @v%d%s : f32[T, %d]\n", i,
        m->bias ? snl_arena_printf(t->arena, ", @bv%d", i) : "", kv);
    if (m->ve && i % 2) {
        put(t, "  %%e = embed %%ids, @ve%d : f32[T, %d]\n", i, kv);
        put(t, "  %%front = slice %%n {begin = 0, end = 4} : f32[T, 4]\n");
        put(t, "  %%gl = linear %%front, @gate%d : f32[T, %d]\n", i, m->kv_heads);
        put(t, "  %%gs = sigmoid %%gl : f32[T, %d]\n", m->kv_heads);
        put(t, "  %%ge = mul %%e, %%gs : f32[T, %d]\n", kv);
        put(t, "  %%v = lincomb %%v0, %%ge {coef = [1.0, 3.0]} : f32[T, %d]\n", kv);
    } else {
        put(t, "  %%v = lincomb %%v0 : f32[T, %d]\n", kv);
    }
    put(t, "  %%cs = rope_table %%pos {theta = 10000.0, width = %d} : f32[T, %d]\n", WIDTH / 2,
        WIDTH / 2);
    put(t, "  %%qr = rope %%q, %%cs {heads = 2} : f32[T, %d]\n", WIDTH);
    put(t, "  %%kr = rope %%k, %%cs {heads = %d} : f32[T, %d]\n", m->kv_heads, kv);
    const char *q = "qr", *k = "kr";
    if (m->qk_norm) {
        put(t, "  %%qn = rms_norm %%qr {eps = 1e-06, heads = 2} : f32[T, %d]\n", WIDTH);
        put(t, "  %%kn = rms_norm %%kr {eps = 1e-06, heads = %d} : f32[T, %d]\n", m->kv_heads, kv);
        q = "qn", k = "kn";
    }
    put(t, "  kv_write %%%s, %%v, %%pos, @kv\n", k);
    put(t,
        "  %%a = attention %%%s, %%%s, %%v, %%pos, @kv {heads = 2, kv_heads = %d%s} : f32[T, %d]\n",
        q, k, m->kv_heads, i == m->window_of ? ", window = 2" : "", WIDTH);
    put(t, "  %%o = linear %%a, @o%d : f32[T, %d]\n", i, WIDTH);
}

/* %m, the normed middle, to %d. */
static void put_mlp(Text *t, const Model *m, int i)
{
    put(t, "  %%u = linear %%m, @up%d : f32[T, 12]\n", i);
    if (m->gated) {
        put(t, "  %%w = linear %%m, @wide%d : f32[T, 12]\n", i);
        put(t, "  %%s = silu %%u : f32[T, 12]\n");
        put(t, "  %%act = mul %%s, %%w : f32[T, 12]\n");
    } else {
        put(t, "  %%act = relu2 %%u : f32[T, 12]\n");
    }
    put(t, "  %%d = linear %%act, @down%d : f32[T, %d]\n", i, WIDTH);
}

static const char *state_type(const Model *m, SnlArena *arena)
{
    return m->streams ? snl_arena_printf(arena, "f32[T, %d, %d]", m->streams, WIDTH)
                      : snl_arena_printf(arena, "f32[T, %d]", WIDTH);
}

static void put_layer(Text *t, const Model *m, int i, int surrogate)
{
    const char *type = state_type(m, t->arena);
    const char *kind = surrogate == 1   ? "zero"
                       : surrogate == 2 ? snl_arena_printf(t->arena, "diag @diag%d", i)
                       : m->streams     ? snl_arena_printf(t->arena, "streams @j%d", i)
                                        : "identity";
    put(t,
        "layer @block.%d(%%h: %s, %%pos: index, %%ids: i32[T], %%x0: %s, @kv: state) -> %s "
        "surrogate %s {\n",
        i, type, type, type, kind);
    if (m->streams) {
        put(t, "  %%ain = mix %%h, @apre%d : f32[T, %d]\n", i, WIDTH);
        put(t, "  %%n = rms_norm %%ain, @g%d {eps = 1e-05} : f32[T, %d]\n", i, WIDTH);
        put_attention(t, m, i);
        put(t, "  %%aout = mix %%o, @apost%d : %s\n  %%akept = mix %%h, @ares%d : %s\n", i, type, i,
            type);
        put(t, "  %%y = lincomb %%akept, %%aout : %s\n", type);
        put(t, "  %%min = mix %%y, @mpre%d : f32[T, %d]\n", i, WIDTH);
        put(t, "  %%m = rms_norm %%min, @f%d {eps = 1e-05} : f32[T, %d]\n", i, WIDTH);
        put_mlp(t, m, i);
        put(t, "  %%mout = mix %%d, @mpost%d : %s\n  %%mkept = mix %%y, @mres%d : %s\n", i, type, i,
            type);
        put(t, "  %%z = lincomb %%mkept, %%mout : %s\n  return %%z\n}\n", type);
        return;
    }
    if (m->blend) put(t, "  %%x = lincomb %%h, %%x0 {coef = [@r%d, @l%d]} : %s\n", i, i, type);
    const char *x = m->blend ? "x" : "h";
    put(t, "  %%n = rms_norm %%%s, @g%d {eps = 1e-05} : %s\n", x, i, type);
    put_attention(t, m, i);
    put(t, "  %%y = lincomb %%%s, %%o : %s\n", x, type);
    put(t, "  %%m = rms_norm %%y, @f%d {eps = 1e-05} : %s\n", i, type);
    put_mlp(t, m, i);
    put(t, "  %%z = lincomb %%y, %%d : %s\n  return %%z\n}\n", type);
}

static const char *model_text(SnlArena *arena, const Model *m, int surrogate)
{
    Text t = {arena, snl_arena_strdup(arena, "module @law\n")};
    put(&t, "weight @embed : f32[%d, %d] = random {seed = 1}\n", VOCAB, WIDTH);
    if (m->streams) put(&t, "weight @spread : f32[%d, 1] = random {seed = 3}\n", m->streams);
    for (int i = 0; i < m->layers; i++) put_weights(&t, m, i);
    for (int i = 0; i < m->layers; i++) put_layer(&t, m, i, surrogate);
    const char *type = state_type(m, arena);
    put(&t, "func @forward(%%ids: i32[T], %%pos: index) -> %s, %s {\n", type, type);
    put(&t, "  %%e = embed %%ids, @embed : f32[T, %d]\n", WIDTH);
    if (m->streams) put(&t, "  %%x = mix %%e, @spread : %s\n", type);
    put(&t, "  %%h, %%mid = chain %%%s, %%pos, %%ids, %%%s, [", m->streams ? "x" : "e",
        m->streams ? "x" : "e");
    for (int i = 0; i < m->layers; i++) put(&t, "%s@block.%d(@kv.%d)", i ? ", " : "", i, i);
    put(&t, "] {taps = [%d]} : %s, %s\n  return %%h, %%mid\n}\n", m->layers / 2, type, type);
    return t.at;
}

/* ---- random plans --------------------------------------------------------------------------- */

static const char *window_text(SnlArena *arena, Rng *r, int begin, int end, bool exact)
{
    static const char *const init[] = {"h0", "batch_fwd"};
    const char *text = snl_arena_printf(arena, "[%d:%d] %s", begin, end, init[draw(r, 2)]);
    text = exact ? snl_arena_printf(arena, "%s K=exact", text)
                 : snl_arena_printf(arena, "%s K%d", text, 1 + (int)draw(r, 3));
    if (draw(r, 2)) text = snl_arena_printf(arena, "%s damping=0.%d", text, (int)draw(r, 10));
    return text;
}

/* One window, or two with or without layers between them. */
static const char *random_plan(SnlArena *arena, Rng *r, const Model *m, bool exact)
{
    int begin = (int)draw(r, (uint64_t)m->layers);
    int end = begin + 1 + (int)draw(r, (uint64_t)(m->layers - begin));
    const char *text = window_text(arena, r, begin, end, exact);
    if (end == m->layers || draw(r, 2)) return text;
    int second = end + (int)draw(r, (uint64_t)(m->layers - end));
    int last = second + 1 + (int)draw(r, (uint64_t)(m->layers - second));
    return snl_arena_printf(arena, "%s; %s", text, window_text(arena, r, second, last, exact));
}

/* ---- evaluation ----------------------------------------------------------------------------- */

typedef struct Trace {
    double *state[MAX_LAYERS + 1]; /* of the chain, whole text */
    int64_t row, pos;
    int first_unit; /* layers before the window that is traced */
    double worst;
    bool recording;
} Trace;

typedef struct Program {
    SnlArena *arena;
    SnlDiag *diag;
    SnlModule *m;
    double out[2][TOKENS * 2 * WIDTH];
} Program;

static SnlModule *parse(Program *p, const char *text)
{
    SnlSource *source = SNL_NEW(p->arena, SnlSource);
    *source = (SnlSource){"law.snl", text, strlen(text)};
    SnlModule *m = NULL;
    if (snl_parse(p->arena, source, p->diag, &m) != SNL_OK)
        fail_msg("%s\n%s", snl_diag_text(p->diag), text);
    return m;
}

static void on_state(void *user, const SnlOp *op, int64_t sweep, size_t link,
                     const SnlTensor *value)
{
    Trace *t = user;
    size_t n = (size_t)(value->n_tokens * t->row);
    if (t->recording) {
        memcpy(t->state[link] + t->pos * t->row, value->at, n * sizeof(double));
        return;
    }
    if (op->code != SNL_OP_NEWTON || link > (size_t)sweep) return;
    int window = 0;
    for (const SnlOp *before = op->prev; before; before = before->prev)
        if (before->code == SNL_OP_CHAIN || before->code == SNL_OP_NEWTON)
            window += (int)before->sym[0].n;
    const double *want = t->state[(size_t)window + link] + t->pos * t->row;
    for (size_t i = 0; i < n; i++) t->worst = fmax(t->worst, fabs(value->at[i] - want[i]));
}

/* The whole text in calls of random lengths. */
static void evaluate(Program *p, const SnlModule *m, Rng *splits, Trace *trace)
{
    SnlWeightSource *source = snl_random_source_create(p->arena, 1);
    SnlEval *eval = snl_eval_create(m, source, p->diag);
    const SnlFunc *f = snl_module_find_func(m, "forward");
    int64_t row = snl_type_row_elems(f->result[0]);
    if (trace) {
        trace->row = row;
        snl_eval_set_trace(eval, on_state, trace);
    }
    for (int64_t pos = 0, n; pos < TOKENS; pos += n) {
        double ids[TOKENS], at = (double)pos;
        SnlTensor out[2];
        n = 1 + (int64_t)draw(splits, TOKENS - (uint64_t)pos);
        for (int64_t i = 0; i < n; i++) ids[i] = (double)((pos + i) * 7 % VOCAB);
        SnlTensor args[] = {{f->param[0]->type, n, ids}, {f->param[1]->type, n, &at}};
        if (trace) trace->pos = pos;
        if (snl_eval_call(eval, f, args, NULL, n, out) != SNL_OK)
            fail_msg("%s", snl_diag_text(p->diag));
        for (int r = 0; r < 2; r++)
            memcpy(p->out[r] + pos * row, out[r].at, (size_t)(n * row) * sizeof(double));
    }
    snl_eval_destroy(eval);
}

static double distance(const Program *a, const Program *b, int64_t n)
{
    double worst = 0, largest = 1;
    for (int r = 0; r < 2; r++)
        for (int64_t i = 0; i < n; i++) {
            worst = fmax(worst, fabs(a->out[r][i] - b->out[r][i]));
            largest = fmax(largest, fabs(a->out[r][i]));
        }
    return worst / largest;
}

static void run_passes(Program *p, SnlModule *m, const char *text)
{
    SnlPipelineOptions o = {.verify_each = true};
    if (snl_pipeline_run(m, text, &o, p->diag) != SNL_OK)
        fail_msg("%s: %s", text, snl_diag_text(p->diag));
}

/* ---- the law -------------------------------------------------------------------------------- */

static void check_seed(uint64_t seed, double *worst)
{
    Rng r = {seed * 977 + 1}, splits = {seed};
    Model model = random_model(&r);
    int surrogate = (int)draw(&r, model.streams ? 2 : 3);
    bool exact = draw(&r, 2);
    static Program seq, planned;
    seq = (Program){.arena = snl_arena_create(), .diag = snl_diag_create(NULL, 0)};
    planned = (Program){.arena = seq.arena, .diag = seq.diag};
    const char *text = model_text(seq.arena, &model, surrogate);
    const char *plan = random_plan(seq.arena, &r, &model, exact);
    Trace trace = {.recording = true};
    for (int i = 0; i <= model.layers; i++)
        trace.state[i] = SNL_NEW_ARRAY(seq.arena, double, TOKENS * 2 * WIDTH);
    evaluate(&seq, parse(&seq, text), &splits, &trace);
    SnlModule *m = parse(&planned, text);
    run_passes(&planned, m, snl_arena_printf(seq.arena, "newton{plan=\"%s\"}", plan));
    /* States before and in the first window are comparable for any K; behind an approximate one
     * nothing is. */
    trace.recording = false;
    if (exact || !strchr(plan, ';')) evaluate(&planned, m, &splits, &trace);
    if (trace.worst > limit)
        fail_msg("seed %llu, plan %s: a state that should be sequential is off by %g\n%s",
                 (unsigned long long)seed, plan, trace.worst, text);
    evaluate(&planned, m, &splits, NULL);
    int64_t n = TOKENS * trace.row;
    double e = exact ? distance(&seq, &planned, n) : 0;
    Program naive = planned;
    run_passes(&planned, m,
               "lower-newton,inline-layers,simplify,cancel-residual,simplify,cse,dce,"
               "merge-linear,simplify,cse,dce");
    evaluate(&planned, m, &splits, NULL);
    e = fmax(e, distance(&naive, &planned, n));
    if (exact) e = fmax(e, distance(&seq, &planned, n));
    if (!(e <= limit))
        fail_msg("seed %llu, plan %s: error %g\n%s", (unsigned long long)seed, plan, e, text);
    *worst = fmax(*worst, fmax(e, trace.worst));
    snl_diag_destroy(seq.diag);
    snl_arena_destroy(seq.arena);
}

static void random_programs_keep_the_law(void **state)
{
    (void)state;
    double worst = 0;
    const char *only = getenv("SNL_SEED");
    if (only) {
        check_seed(strtoull(only, NULL, 10), &worst);
        return;
    }
    for (uint64_t seed = 1; seed <= PROGRAMS; seed++) check_seed(seed, &worst);
    print_message("%d programs, largest error %.2g\n", PROGRAMS, worst);
}

/* ... and it is no accident: with one sweep less the last state is another one. */
static void one_sweep_less_is_not_enough(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        static Program seq, planned;
        Rng r = {seed}, splits = {1}, again = {1};
        Model model = random_model(&r);
        seq = (Program){.arena = snl_arena_create(), .diag = snl_diag_create(NULL, 0)};
        planned = (Program){.arena = seq.arena, .diag = seq.diag};
        const char *text = model_text(seq.arena, &model, 1);
        Trace trace = {.recording = true};
        for (int i = 0; i <= model.layers; i++)
            trace.state[i] = SNL_NEW_ARRAY(seq.arena, double, TOKENS * 2 * WIDTH);
        evaluate(&seq, parse(&seq, text), &splits, &trace);
        SnlModule *m = parse(&planned, text);
        run_passes(&planned, m,
                   snl_arena_printf(seq.arena, "newton{plan=\"n%d K%d\"}", model.layers,
                                    model.layers - 1));
        evaluate(&planned, m, &again, NULL);
        assert_true(distance(&seq, &planned, TOKENS * trace.row) > 1e-6);
        snl_diag_destroy(seq.diag);
        snl_arena_destroy(seq.arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(random_programs_keep_the_law),
                                       cmocka_unit_test(one_sweep_less_is_not_enough)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
