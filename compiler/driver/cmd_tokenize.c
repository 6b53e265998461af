/* compiler/driver/cmd_tokenize.c -- `snlpc tokenize` and `snlpc detokenize`: the tokenizer of a
 * model as its program will have it, since both run the same code on the same blob. */
#include "compiler/driver/commands.h"

#include "compiler/frontend/tokenizer.h"
#include "ir/base/checked.h"
#include "ir/base/file.h"
#include "runtime/output.h"
#include "runtime/tokenizer.h"

#include <argp.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Vocabulary assumed for a tokenizer.json that is named without its model. */
enum { ALONE_VOCAB = 1 << 20 };

typedef struct Options {
    const char *model;
    bool no_special, special;
} Options;

typedef struct Session {
    SnlArena *arena;
    SnlDiag *diag;
    SnlrtTokenizer *tokenizer;
    SnlrtText input, text;
    SnlrtIds ids;
} Session;

/* ---- model --------------------------------------------------------------------------------- */

static bool names_json(const char *path)
{
    size_t n = strlen(path);
    return n > 5 && !strcmp(path + n - 5, ".json") && !snl_path_is_dir(path);
}

static SnlStatus build(Session *s, const char *path, void **out_blob, size_t *out_nbytes)
{
    if (names_json(path))
        return snl_tokenizer_build(s->arena, SNL_TOKENIZER_JSON, path, ALONE_VOCAB, s->diag,
                                   out_blob, out_nbytes);
    SnlModel model;
    SnlModelOptions options = {.random_weights = true}; /* weight files are of no interest here */
    SNL_TRY(snl_model_open(s->arena, path, &options, s->diag, &model));
    SnlStatus status = SNL_OK;
    if (model.tokenizer == SNL_TOKENIZER_NONE)
        status = snl_error_at(s->diag, SNL_E_TOKENIZER, path,
                              "found no tokenizer, wanted tokenizer.json in the folder or "
                              "\"tokenizer\": \"byte\" in config.json");
    else
        status = snl_tokenizer_build(s->arena, model.tokenizer, model.tokenizer_path, model.vocab,
                                     s->diag, out_blob, out_nbytes);
    snl_model_close(&model);
    return status;
}

static SnlStatus session_open(Session *s, const char *path)
{
    *s = (Session){.arena = snl_arena_create(), .diag = snl_diag_create(stderr, 0)};
    void *blob = NULL;
    size_t nbytes = 0;
    SNL_TRY(build(s, path, &blob, &nbytes));
    const char *error;
    int code = snlrt_tokenizer_create(blob, nbytes, &s->tokenizer, &error);
    if (!code) return SNL_OK;
    return snl_error_at(s->diag, code == SNLRT_TOKEN_MACHINE ? SNL_E_MACHINE : SNL_E_INTERNAL, path,
                        "%s", error);
}

static void session_close(Session *s)
{
    snlrt_tokenizer_destroy(s->tokenizer);
    snlrt_text_deinit(&s->input);
    snlrt_text_deinit(&s->text);
    snlrt_ids_deinit(&s->ids);
    snl_diag_destroy(s->diag);
    snl_arena_destroy(s->arena);
}

/* ---- streams ------------------------------------------------------------------------------- */

static SnlStatus read_input(Session *s)
{
    size_t got;
    if (snlrt_input_closed())
        return snl_error_at(s->diag, SNL_E_USAGE, "standard input",
                            "found it closed, wanted what to work on: pipe it in, or give a file "
                            "with '<FILE'");
    do {
        if (s->input.cap - s->input.n < 4096) {
            s->input.cap = s->input.cap ? 2 * s->input.cap : 65536;
            s->input.at = snl_xrealloc(s->input.at, s->input.cap);
        }
        got = fread(s->input.at + s->input.n, 1, s->input.cap - s->input.n, stdin);
        s->input.n += got;
    } while (got);
    if (!ferror(stdin)) return SNL_OK;
    return snl_error_at(s->diag, SNL_E_MACHINE, "standard input", "cannot read: %s",
                        strerror(errno));
}

static SnlStatus end_output(Session *s)
{
    if (fflush(stdout) == 0 && !ferror(stdout)) return SNL_OK;
    return snl_error_at(s->diag, SNL_E_MACHINE, "standard output", "cannot write: %s",
                        snlrt_write_error());
}

/* ---- tokenize ------------------------------------------------------------------------------ */

static SnlStatus tokenize(Session *s, const Options *options)
{
    SNL_TRY(read_input(s));
    unsigned flags = options->no_special ? SNLRT_ENCODE_SPECIAL : SNLRT_ENCODE_DEFAULT;
    int code = snlrt_tokenizer_encode(s->tokenizer, s->input.at ? s->input.at : "", s->input.n,
                                      flags, &s->ids);
    if (code)
        return snl_error_at(s->diag, code == SNLRT_TOKEN_MACHINE ? SNL_E_MACHINE : SNL_E_TOKENIZER,
                            "standard input", "%s", snlrt_tokenizer_error(s->tokenizer));
    for (size_t i = 0; i < s->ids.n; i++) printf("%s%" PRId32, i ? " " : "", s->ids.at[i]);
    putchar('\n');
    return end_output(s);
}

/* ---- detokenize ---------------------------------------------------------------------------- */

static bool is_separator(char c)
{
    return c == ' ' || c == '\n' || c == '\t' || c == '\r' || c == ',';
}

static void push_id(SnlrtIds *ids, int32_t id)
{
    if (ids->n == ids->cap) {
        ids->cap = ids->cap ? 2 * ids->cap : 256;
        ids->at = snl_xrealloc(ids->at, ids->cap * sizeof *ids->at);
    }
    ids->at[ids->n++] = id;
}

/* Ids of the input, with the place of the one that is none. */
static SnlStatus parse_ids(Session *s)
{
    const char *text = s->input.at;
    SnlSource *source = SNL_NEW(s->arena, SnlSource);
    *source = (SnlSource){"standard input", text, s->input.n};
    int32_t n_ids = snlrt_tokenizer_n_ids(s->tokenizer);
    for (size_t at = 0; at < s->input.n;) {
        size_t end = at;
        while (end < s->input.n && !is_separator(text[end])) end++;
        if (end > at) {
            const char *word =
                snl_arena_strndup(s->arena, text + at, end - at < 24 ? end - at : 24);
            int64_t id;
            if (!snl_parse_i64(word, 0, (int64_t)n_ids - 1, &id)) {
                SnlLoc loc = {source, (uint32_t)at, (uint32_t)(end - at)};
                return snl_error(s->diag, SNL_E_TOKENIZER, loc,
                                 "found \"%s\", wanted a token id from 0 to %" PRId32, word,
                                 n_ids - 1);
            }
            push_id(&s->ids, (int32_t)id);
        }
        at = end + 1;
    }
    return SNL_OK;
}

static SnlStatus detokenize(Session *s, const Options *options)
{
    SNL_TRY(read_input(s));
    SNL_TRY(parse_ids(s));
    if (snlrt_tokenizer_decode(s->tokenizer, s->ids.at, s->ids.n,
                               options->special ? SNLRT_DECODE_SPECIAL : 0, &s->text))
        return snl_error_at(s->diag, SNL_E_MACHINE, NULL, "out of memory in the tokenizer");
    fwrite(s->text.at ? s->text.at : "", 1, s->text.n, stdout);
    return end_output(s);
}

/* ---- command lines ------------------------------------------------------------------------- */

enum { KEY_NO_SPECIAL = 0x2000, KEY_SPECIAL };

#define MODEL_DOC "MODEL is a Hugging Face folder, a .snl file, or a tokenizer.json by itself."

static const char tokenize_doc[] =
    "Print the token ids of the text on standard input, separated by spaces.\v" MODEL_DOC
    " Special tokens written out in the text become their ids. Broken UTF-8 is read as U+FFFD; a "
    "model whose tokens are bytes takes every byte as it is.\n\n"
    "Example:\n"
    "  printf 'Once upon a time' | snlpc tokenize models/story";
static const char detokenize_doc[] = "Print the text of the token ids on standard input, which "
                                     "spaces, commas or lines separate.\v" MODEL_DOC "\n\n"
                                     "Example:\n"
                                     "  echo 1 403 407 | snlpc detokenize models/story";

static const struct argp_option tokenize_options[] = {
    {"no-special", KEY_NO_SPECIAL, NULL, 0,
     "Do not add the tokens that the model wants around a text (beginning, end)", 0},
    {0}};
static const struct argp_option detokenize_options[] = {
    {"special", KEY_SPECIAL, NULL, 0, "Write special tokens too, instead of leaving them out", 0},
    {0}};

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    Options *options = state->input;
    switch (key) {
    case KEY_NO_SPECIAL:
        options->no_special = true;
        return 0;
    case KEY_SPECIAL:
        options->special = true;
        return 0;
    case ARGP_KEY_ARG:
        if (options->model) argp_error(state, "found a second MODEL '%s'", arg);
        options->model = arg;
        return 0;
    case ARGP_KEY_END:
        if (!options->model) argp_error(state, "no MODEL given");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

typedef SnlStatus Action(Session *s, const Options *options);

static SnlStatus run(const struct argp *argp, int argc, char **argv, Action *action)
{
    Options options = {0};
    argp_parse(argp, argc, argv, 0, NULL, &options);
    Session s;
    SnlStatus status = session_open(&s, options.model);
    if (status == SNL_OK) status = action(&s, &options);
    session_close(&s);
    return status;
}

SnlStatus snl_cmd_tokenize(int argc, char **argv)
{
    static const struct argp argp = {
        tokenize_options, parse_option, "MODEL < TEXT", tokenize_doc, NULL, NULL, NULL};
    return run(&argp, argc, argv, tokenize);
}

SnlStatus snl_cmd_detokenize(int argc, char **argv)
{
    static const struct argp argp = {
        detokenize_options, parse_option, "MODEL < IDS", detokenize_doc, NULL, NULL, NULL};
    return run(&argp, argc, argv, detokenize);
}
