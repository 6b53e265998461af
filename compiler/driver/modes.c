/* compiler/driver/modes.c -- names of modes, and their functions. */
#include "compiler/driver/modes.h"

#include <string.h>

/* ---- names ----------------------------------------------------------------------------------- */

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
static bool is_name_char(char c)
{
    return is_letter(c) || (c >= '0' && c <= '9') || c == '_';
}

/* The words of a plan that are followed by "=" and are no good names. */
static bool is_plan_word(const char *text, size_t n)
{
    static const char *const word[] = {"damping", "surrogate", "prefill", "kv", "compat"};
    for (size_t i = 0; i < sizeof word / sizeof *word; i++)
        if (strlen(word[i]) == n && strncmp(text, word[i], n) == 0) return true;
    return false;
}

/* Length of the NAME of "NAME=PLAN"; 0: there is none. (A plan begins with seq, nINT or [, and none
 * of these is followed by '='; a text that begins with a later word of a plan is a mistaken
 * plan.) */
static size_t name_length(const char *text)
{
    size_t n = 0;
    if (!is_letter(*text)) return 0;
    while (is_name_char(text[n])) n++;
    return text[n] == '=' && !is_plan_word(text, n) ? n : 0;
}

static SnlMode *find_mode(const SnlModes *modes, const char *name)
{
    for (size_t i = 0; i < modes->list.n; i++)
        if (modes->list.at[i].name && strcmp(modes->list.at[i].name, name) == 0)
            return &modes->list.at[i];
    return NULL;
}

/* Names that passes give to functions made from @forward. */
static bool is_reserved(const char *name)
{
    return !strcmp(name, "decode") || !strcmp(name, "prefill") || !strcmp(name, "prompt");
}

static SnlStatus check_name(const SnlModes *modes, const char *name, SnlDiag *diag)
{
    if (strlen(name) > SNL_MODE_NAME_MAX)
        return snl_error_at(diag, SNL_E_USAGE, "--plan",
                            "mode '%.40s...': found a name of %zu characters, wanted at most %d",
                            name, strlen(name), (int)SNL_MODE_NAME_MAX);
    if (is_reserved(name))
        return snl_error_at(diag, SNL_E_USAGE, "--plan",
                            "a mode cannot be called '%s': this is what parts of a mode are called",
                            name);
    if (find_mode(modes, name))
        return snl_error_at(diag, SNL_E_USAGE, "--plan",
                            "two modes are called '%s': name them, as in --plan fast='n8 K1'",
                            name);
    return SNL_OK;
}

/* "snlp", "snlp2", ...: the first that is free. */
static const char *default_name(SnlArena *arena, const SnlModes *modes, const SnlPlan *plan)
{
    if (plan->windows.n == 0) return "seq";
    const char *name = "snlp";
    for (int i = 2; find_mode(modes, name); i++) name = snl_arena_printf(arena, "snlp%d", i);
    return name;
}

/* ---- plans ----------------------------------------------------------------------------------- */

static SnlStatus parse_plan(SnlArena *arena, const char *text, SnlDiag *diag, SnlModes *modes)
{
    size_t n = name_length(text);
    SnlMode mode = {.name = n ? snl_arena_strndup(arena, text, n) : NULL};
    SNL_TRY(snl_plan_parse(arena, n ? text + n + 1 : text, diag, &mode.plan));
    if (mode.name) SNL_TRY(check_name(modes, mode.name, diag));
    if (mode.name && strcmp(mode.name, "seq") == 0 && mode.plan.windows.n > 0)
        return snl_error_at(diag, SNL_E_USAGE, "--plan",
                            "found '%s', wanted another name: seq is always the sequential program",
                            text);
    mode.text = snl_plan_print(arena, &mode.plan);
    SNL_PUSH(arena, &modes->list, mode);
    return SNL_OK;
}

static SnlStatus name_the_others(SnlArena *arena, SnlModes *modes, SnlDiag *diag)
{
    for (size_t i = 0; i < modes->list.n; i++) {
        SnlMode *mode = &modes->list.at[i];
        if (mode->name) continue;
        const char *name = default_name(arena, modes, &mode->plan);
        SNL_TRY(check_name(modes, name, diag));
        mode->name = name;
    }
    return SNL_OK;
}

static SnlStatus unknown_mode(SnlArena *arena, const SnlModes *modes, const char *name,
                              SnlDiag *diag)
{
    const char *names = find_mode(modes, "seq") ? "" : "seq";
    for (size_t i = 0; i < modes->list.n; i++)
        names =
            snl_arena_printf(arena, "%s%s%s", names, *names ? ", " : "", modes->list.at[i].name);
    return snl_error_at(diag, SNL_E_USAGE, "--modes", "found '%s', wanted some of: %s%s", name,
                        names,
                        modes->list.n == 1 && modes->list.at[0].plan.windows.n == 0
                            ? " (add a plan: --plan 'n8 K1')"
                            : "");
}

/* Marks the modes that `text` names; adds `seq` when it is named and no plan is. */
static SnlStatus read_choice(SnlArena *arena, const char *text, SnlModes *modes, SnlDiag *diag,
                             bool *chosen)
{
    for (const char *at = text;; at++) {
        size_t n = strcspn(at, ",");
        const char *name = snl_arena_strndup(arena, at, n);
        SnlMode *mode = find_mode(modes, name);
        if (!mode && strcmp(name, "seq") == 0) {
            SNL_TRY(parse_plan(arena, "seq=seq", diag, modes));
            mode = &modes->list.at[modes->list.n - 1];
        }
        if (!mode) return unknown_mode(arena, modes, name, diag);
        size_t index = (size_t)(mode - modes->list.at);
        if (chosen[index])
            return snl_error_at(diag, SNL_E_USAGE, "--modes", "'%s' is named twice", name);
        chosen[index] = true;
        at += n;
        if (!*at) return SNL_OK;
    }
}

static SnlStatus choose(SnlArena *arena, const char *text, SnlModes *modes, SnlDiag *diag)
{
    bool *chosen = SNL_NEW_ARRAY(arena, bool, modes->list.n + 1);
    SNL_TRY(read_choice(arena, text, modes, diag, chosen));
    size_t n = 0;
    for (size_t i = 0; i < modes->list.n; i++)
        if (chosen[i]) modes->list.at[n++] = modes->list.at[i];
    modes->list.n = n;
    return SNL_OK;
}

SnlStatus snl_modes_parse(SnlArena *arena, const SnlModeArgs *args, SnlDiag *diag, SnlModes *out)
{
    *out = (SnlModes){0};
    for (size_t i = 0; i < args->plans.n; i++)
        SNL_TRY(parse_plan(arena, args->plans.at[i], diag, out));
    SNL_TRY(name_the_others(arena, out, diag));
    bool none = out->list.n == 0;
    if (none) SNL_TRY(parse_plan(arena, "seq=seq", diag, out));
    if (args->modes) SNL_TRY(choose(arena, args->modes, out, diag));
    for (size_t i = 0; i < out->list.n; i++) {
        SnlMode *mode = &out->list.at[i];
        mode->func = i ? snl_arena_printf(arena, "forward.%s", mode->name) : "forward";
        if (mode->plan.prefill_seq) mode->prompt = snl_arena_printf(arena, "%s.prompt", mode->func);
    }
    return SNL_OK;
}

/* ---- functions ------------------------------------------------------------------------------- */

SnlStatus snl_modes_fit(SnlModes *modes, SnlModule *m, SnlWeightSource *source, SnlDiag *diag)
{
    for (size_t i = 0; i < modes->list.n; i++) {
        SnlMode *mode = &modes->list.at[i];
        if (mode->plan.windows.n == 0) continue;
        const SnlOp *chain = snl_plan_chain(m, "forward", diag);
        if (!chain) return SNL_BAD_INPUT;
        SNL_TRY(snl_plan_fit(&mode->plan, chain, diag));
        SNL_TRY(snl_plan_check_files(&mode->plan, chain, source, diag));
    }
    return SNL_OK;
}

/* Passes will make functions of these names. */
static SnlStatus check_free(const SnlModule *m, const SnlMode *mode, SnlArena *arena, SnlDiag *diag)
{
    static const char *const suffix[] = {"", ".decode", ".prefill", ".prompt"};
    bool is_forward = strcmp(mode->func, "forward") == 0;
    for (size_t i = is_forward ? 1 : 0; i < sizeof suffix / sizeof *suffix; i++) {
        const char *name = snl_arena_printf(arena, "%s%s", mode->func, suffix[i]);
        if (snl_module_find_func(m, name))
            return snl_error_at(
                diag, SNL_E_NAME, "--plan",
                "mode '%s' needs the function name '@%s', which the model has already", mode->name,
                name);
    }
    return SNL_OK;
}

SnlStatus snl_modes_clone(const SnlModes *modes, SnlModule *m, SnlDiag *diag)
{
    const SnlFunc *forward = snl_module_find_func(m, "forward");
    if (!forward) return snl_error_at(diag, SNL_E_STRUCTURE, m->name, "no function '@forward'");
    for (size_t i = 0; i < modes->list.n; i++)
        SNL_TRY(check_free(m, &modes->list.at[i], m->arena, diag));
    for (size_t i = 1; i < modes->list.n; i++) snl_func_clone(forward, modes->list.at[i].func);
    return SNL_OK;
}
