/* passes/plan.c -- plan texts: parsing with located errors, what is refused without knowing the
 * model. Printing and fitting to a model are in plan_fit.c. */
#include "passes/plan.h"

#include "ir/base/checked.h"

#include <string.h>

enum { MAX_COUNT = 65535, MAX_WINDOWS = 1024 };

const char *const snl_init_text[SNL_INIT_COUNT] = {"h0", "batch_fwd", "warm"};

typedef struct Reader {
    SnlArena *arena;
    SnlDiag *diag;
    const SnlSource *source;
    size_t at;
    SnlPlan *plan;
    /* the word just read, and its place */
    const char *word;
    SnlLoc loc;
    /* what the window, or the plan, has said already */
    bool has_chunks, has_sweeps, has_init, has_damping, has_surrogate;
    bool has_prefill, has_kv, has_compat;
} Reader;

/* ---- words ---------------------------------------------------------------------------------- */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n';
}

/* The next word: up to a blank or ';' outside of brackets; ";" alone; "" at the end. */
static void next_word(Reader *r)
{
    const char *text = r->source->text;
    while (r->at < r->source->len && is_blank(text[r->at])) r->at++;
    size_t start = r->at;
    int depth = 0;
    for (; r->at < r->source->len; r->at++) {
        char c = text[r->at];
        if (depth <= 0 && (is_blank(c) || c == ';')) break;
        depth += (c == '[' || c == '(') - (c == ']' || c == ')');
    }
    if (r->at == start && r->at < r->source->len) r->at++;
    r->word = snl_arena_strndup(r->arena, text + start, r->at - start);
    r->loc = (SnlLoc){r->source, (uint32_t)start, (uint32_t)(r->at - start)};
}

static const char *word_text(const Reader *r)
{
    return *r->word ? snl_arena_printf(r->arena, "'%s'", r->word) : "the end";
}

static bool starts_with(const char *text, const char *head)
{
    return strncmp(text, head, strlen(head)) == 0;
}

/* Something before the tail, too. */
static bool ends_with(const char *text, const char *tail)
{
    size_t n = strlen(text), m = strlen(tail);
    return n > m && strcmp(text + n - m, tail) == 0;
}

static SnlStatus twice(Reader *r, const char *what, bool *flag)
{
    if (*flag) return snl_error(r->diag, SNL_E_PLAN, r->loc, "plan: %s is given twice", what);
    *flag = true;
    return SNL_OK;
}

/* A number at *p, which moves behind it. */
static bool take_number(Reader *r, const char **p, int64_t min, int64_t *out)
{
    size_t n = strspn(*p, "0123456789");
    const char *digits = snl_arena_strndup(r->arena, *p, n);
    *p += n;
    return n > 0 && snl_parse_i64(digits, min, MAX_COUNT, out);
}

/* ---- windows -------------------------------------------------------------------------------- */

static SnlStatus wanted_window(const Reader *r)
{
    static const char *const option[] = {"prefill=", "kv=", "compat="};
    for (size_t i = 0; i < sizeof option / sizeof *option; i++)
        if (starts_with(r->word, option[i]))
            return snl_error(
                r->diag, SNL_E_PLAN, r->loc,
                "plan: found '%s' where a window should be: options follow the windows, "
                "as in n8 K1 prefill=seq",
                r->word);
    return snl_error(
        r->diag, SNL_E_PLAN, r->loc,
        "plan: found %s, wanted a window: n24 (the last 24 layers) or [8:20] (layers 8 "
        "to 19), or seq alone",
        word_text(r));
}

static SnlStatus parse_range(Reader *r, SnlWindow *w)
{
    const char *p = r->word + 1;
    w->loc = r->loc;
    if (*r->word == 'n') {
        if (!take_number(r, &p, 1, &w->last) || *p) return wanted_window(r);
        return SNL_OK;
    }
    if (*r->word != '[') return wanted_window(r);
    p += strspn(p, " ");
    if (!take_number(r, &p, 0, &w->begin)) return wanted_window(r);
    p += strspn(p, " ");
    if (*p++ != ':') return wanted_window(r);
    p += strspn(p, " ");
    if (!take_number(r, &p, 0, &w->end)) return wanted_window(r);
    p += strspn(p, " ");
    if (strcmp(p, "]") != 0) return wanted_window(r);
    if (w->begin < w->end) return SNL_OK;
    return snl_error(r->diag, SNL_E_PLAN, r->loc,
                     "plan: %s holds no layer: the second number is the first layer after it",
                     r->word);
}

static int64_t window_layers(const SnlWindow *w)
{
    return w->last ? w->last : w->end - w->begin;
}

static SnlStatus wanted_chunks(const Reader *r)
{
    return snl_error(r->diag, SNL_E_PLAN, r->loc,
                     "plan: found %s, wanted chunks: 12xF2 (12 of 2 layers) or F(4,2)",
                     word_text(r));
}

static SnlStatus set_chunks(Reader *r, SnlWindow *w, const int64_t *size, size_t n)
{
    int64_t sum = 0, layers = window_layers(w);
    for (size_t i = 0; i < n; i++) sum += size[i];
    if (sum != layers)
        return snl_error(r->diag, SNL_E_PLAN, r->loc,
                         "plan: the chunks %s hold %lld layers, the window %lld", r->word,
                         (long long)sum, (long long)layers);
    w->n_chunk = n;
    w->chunk = SNL_NEW_ARRAY(r->arena, int64_t, n);
    memcpy(w->chunk, size, n * sizeof size[0]);
    return SNL_OK;
}

/* "12xF2" */
static SnlStatus parse_equal_chunks(Reader *r, SnlWindow *w)
{
    const char *p = r->word;
    int64_t n, size;
    if (!take_number(r, &p, 1, &n) || !starts_with(p, "xF")) return wanted_chunks(r);
    p += 2;
    if (!take_number(r, &p, 1, &size) || *p) return wanted_chunks(r);
    int64_t *list = SNL_NEW_ARRAY(r->arena, int64_t, (size_t)n);
    for (int64_t i = 0; i < n; i++) list[i] = size;
    return set_chunks(r, w, list, (size_t)n);
}

/* "F(4,2)" */
static SnlStatus parse_chunk_list(Reader *r, SnlWindow *w)
{
    SnlVec(int64_t) list = {0};
    const char *p = r->word + 2;
    do {
        int64_t size;
        p += strspn(p, " ");
        if (!take_number(r, &p, 1, &size)) return wanted_chunks(r);
        SNL_PUSH(r->arena, &list, size);
        p += strspn(p, " ");
    } while (*p++ == ',');
    if (p[-1] != ')' || *p) return wanted_chunks(r);
    return set_chunks(r, w, list.at, list.n);
}

static SnlStatus parse_sweeps(Reader *r, SnlWindow *w)
{
    const char *p = r->word + 1;
    if (strcmp(p, "=exact") == 0) {
        w->sweeps = 0;
        return SNL_OK;
    }
    if (take_number(r, &p, 1, &w->sweeps) && !*p) return SNL_OK;
    return snl_error(r->diag, SNL_E_PLAN, r->loc,
                     "plan: found %s, wanted the number of sweeps: K1 to K%d, or K=exact",
                     word_text(r), MAX_COUNT);
}

static SnlStatus parse_damping(Reader *r, SnlWindow *w)
{
    const char *text = r->word + strlen("damping=");
    if (snl_parse_real(text, &w->damping) && w->damping >= 0 && w->damping <= 1) return SNL_OK;
    return snl_error(r->diag, SNL_E_PLAN, r->loc, "plan: damping: found '%s', wanted 0 to 1", text);
}

static SnlStatus parse_surrogate(Reader *r, SnlWindow *w)
{
    static const char *const name[] = {
        [SNL_PLAN_IDENTITY] = "identity", [SNL_PLAN_STREAMS] = "streams", [SNL_PLAN_ZERO] = "zero"};
    const char *text = r->word + strlen("surrogate=");
    for (int i = SNL_PLAN_IDENTITY; i <= SNL_PLAN_ZERO; i++)
        if (strcmp(text, name[i]) == 0) {
            w->surrogate = (SnlPlanSurrogate)i;
            return SNL_OK;
        }
    if (starts_with(text, "diag:") && ends_with(text + strlen("diag:"), ".npy")) {
        w->surrogate = SNL_PLAN_DIAG;
        w->diag_file = text + strlen("diag:");
        w->diag_loc = r->loc;
        return SNL_OK;
    }
    return snl_error(r->diag, SNL_E_PLAN, r->loc,
                     "plan: surrogate: found '%s', wanted identity, streams, zero or diag:FILE.npy",
                     text);
}

static int find_init(const char *word)
{
    for (int i = 0; i < SNL_INIT_COUNT; i++)
        if (strcmp(word, snl_init_text[i]) == 0) return i;
    return -1;
}

/* One word of a window; *out_taken: it was one. */
static SnlStatus parse_window_word(Reader *r, SnlWindow *w, bool *out_taken)
{
    const char *word = r->word;
    *out_taken = true;
    if (starts_with(word, "F(") || (*word >= '0' && *word <= '9')) {
        SNL_TRY(twice(r, "the window's chunks", &r->has_chunks));
        return *word == 'F' ? parse_chunk_list(r, w) : parse_equal_chunks(r, w);
    }
    if (*word == 'K') {
        SNL_TRY(twice(r, "K", &r->has_sweeps));
        return parse_sweeps(r, w);
    }
    if (find_init(word) >= 0) {
        SNL_TRY(twice(r, "the initialisation", &r->has_init));
        w->init = (SnlInit)find_init(word);
        return SNL_OK;
    }
    if (starts_with(word, "damping=")) {
        SNL_TRY(twice(r, "damping", &r->has_damping));
        return parse_damping(r, w);
    }
    if (starts_with(word, "surrogate=")) {
        SNL_TRY(twice(r, "surrogate", &r->has_surrogate));
        return parse_surrogate(r, w);
    }
    *out_taken = false;
    return SNL_OK;
}

static SnlStatus parse_window(Reader *r, SnlWindow *w)
{
    *w = (SnlWindow){.sweeps = 1};
    r->has_chunks = r->has_sweeps = r->has_init = r->has_damping = r->has_surrogate = false;
    SNL_TRY(parse_range(r, w));
    for (bool taken = true; taken;) {
        next_word(r);
        SNL_TRY(parse_window_word(r, w, &taken));
    }
    return SNL_OK;
}

/* ---- options -------------------------------------------------------------------------------- */

/* Value of `key=a|b`; *out: b. */
static SnlStatus parse_choice(Reader *r, const char *key, const char *a, const char *b, bool *given,
                              bool *out)
{
    const char *value = r->word + strlen(key);
    SNL_TRY(twice(r, snl_arena_strndup(r->arena, key, strlen(key) - 1), given));
    *out = strcmp(value, b) == 0;
    if (*out || strcmp(value, a) == 0) return SNL_OK;
    return snl_error(r->diag, SNL_E_PLAN, r->loc, "plan: %s found '%s', wanted %s or %s", key,
                     value, a, b);
}

static SnlStatus parse_option(Reader *r)
{
    SnlPlan *plan = r->plan;
    if (starts_with(r->word, "prefill="))
        return parse_choice(r, "prefill=", "snlp", "seq", &r->has_prefill, &plan->prefill_seq);
    if (starts_with(r->word, "kv="))
        return parse_choice(r, "kv=", "sweep", "corrected", &r->has_kv, &plan->kv_corrected);
    if (strcmp(r->word, "avg") == 0) return twice(r, "avg", &plan->avg);
    if (starts_with(r->word, "compat=")) {
        bool fused;
        SNL_TRY(parse_choice(r, "compat=", "reference", "reference-fused", &r->has_compat, &fused));
        plan->compat = fused ? SNL_COMPAT_REFERENCE_FUSED : SNL_COMPAT_REFERENCE;
        return SNL_OK;
    }
    return snl_error(
        r->diag, SNL_E_PLAN, r->loc,
        "plan: found %s, wanted ';' and another window, a word of the window (12xF2, "
        "F(4,2), K2, K=exact, h0, batch_fwd, warm, damping=, surrogate=), or prefill=, "
        "kv=, compat=, avg",
        word_text(r));
}

/* ---- what no model can have ----------------------------------------------------------------- */

static SnlStatus check_caches(const Reader *r)
{
    const SnlPlan *plan = r->plan;
    if (plan->kv_corrected && !plan->prefill_seq)
        return snl_error(r->diag, SNL_E_PLAN, plan->windows.at[0].loc,
                         "plan: kv=corrected stores keys and values of corrected states, which "
                         "exist token by token only: give prefill=seq as well, or kv=sweep");
    for (size_t i = 0; i < plan->windows.n; i++)
        if (plan->windows.at[i].init == SNL_INIT_WARM && !plan->prefill_seq)
            return snl_error(r->diag, SNL_E_PLAN, plan->windows.at[i].loc,
                             "plan: warm starts from the previous token's states, the first time "
                             "from the sequential prompt's: give prefill=seq as well");
    return SNL_OK;
}

static SnlStatus check_chunks(const Reader *r)
{
    const SnlPlan *plan = r->plan;
    for (size_t i = 0; i < plan->windows.n; i++) {
        const SnlWindow *w = &plan->windows.at[i];
        if ((plan->compat != SNL_COMPAT_NONE || plan->avg) && w->n_chunk == 0)
            return snl_error(r->diag, SNL_E_PLAN, w->loc,
                             "plan: %s is about fused chunks: give the window chunks, as in 2xF2",
                             plan->avg ? "avg" : "compat");
        if (plan->compat == SNL_COMPAT_REFERENCE_FUSED && w->n_chunk != 1)
            return snl_error(r->diag, SNL_E_PLAN, w->loc,
                             "plan: compat=reference-fused is the reference's one-chunk function: "
                             "found %zu chunks, wanted 1",
                             w->n_chunk);
    }
    return SNL_OK;
}

static SnlStatus check_order(const Reader *r)
{
    const SnlPlan *plan = r->plan;
    for (size_t i = 1; i < plan->windows.n; i++) {
        const SnlWindow *before = &plan->windows.at[i - 1], *w = &plan->windows.at[i];
        if (before->last)
            return snl_error(r->diag, SNL_E_PLAN, w->loc,
                             "plan: a window after n%lld, which ends with the last layer",
                             (long long)before->last);
        if (!w->last && w->begin < before->end)
            return snl_error(
                r->diag, SNL_E_PLAN, w->loc,
                "plan: windows one after the other: this one begins at layer %lld, the "
                "one before ends at %lld",
                (long long)w->begin, (long long)before->end);
    }
    return SNL_OK;
}

/* ---- the plan ------------------------------------------------------------------------------- */

static SnlStatus parse_seq(Reader *r)
{
    next_word(r);
    if (!*r->word) return SNL_OK;
    return snl_error(r->diag, SNL_E_PLAN, r->loc,
                     "plan: found %s after seq, wanted nothing: seq is the whole plan, every layer "
                     "one after the other; another plan is another --plan",
                     word_text(r));
}

SnlStatus snl_plan_parse(SnlArena *arena, const char *text, SnlDiag *diag, SnlPlan *out)
{
    SnlSource *source = SNL_NEW(arena, SnlSource);
    *source = (SnlSource){"plan", snl_arena_strdup(arena, text), strlen(text)};
    *out = (SnlPlan){.source = source};
    Reader r = {.arena = arena, .diag = diag, .source = source, .plan = out};
    next_word(&r);
    if (strcmp(r.word, "seq") == 0) return parse_seq(&r);
    for (;;) {
        SnlWindow window;
        SNL_TRY(parse_window(&r, &window));
        if (out->windows.n == MAX_WINDOWS)
            return snl_error(diag, SNL_E_PLAN, window.loc, "plan: more than %d windows",
                             MAX_WINDOWS);
        SNL_PUSH(arena, &out->windows, window);
        if (strcmp(r.word, ";") != 0) break;
        next_word(&r);
    }
    for (; *r.word; next_word(&r)) SNL_TRY(parse_option(&r));
    SNL_TRY(check_order(&r));
    SNL_TRY(check_chunks(&r));
    return check_caches(&r);
}
