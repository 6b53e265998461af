/* runtime/program.c -- the program's way from its command line to one of its tasks. */
#include "runtime/program.h"

#include "runtime/level.h"
#include "runtime/cpus.h"
#include "runtime/output.h"
#include "runtime/pool.h"
#include "runtime/stop.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- small things that the tasks share ---- */

/* The only mutable global of the runtime: a signal handler has nothing else to write to. */
static volatile sig_atomic_t interrupted;

static void note_interrupt(int signal_number)
{
    (void)signal_number;
    interrupted = 1;
}

void snlrt_interrupt_catch(void)
{
    struct sigaction action = {.sa_handler = note_interrupt, .sa_flags = (int)SA_RESETHAND};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
}

bool snlrt_interrupted(void)
{
    return interrupted != 0;
}

void snlrt_program_note(const SnlrtProgram *program, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    fprintf(stderr, "%s: note: %s\n", program->name, text);
}

void snlrt_json_string(FILE *out, const char *text)
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

SnlrtStatus snlrt_program_print(const char *text, size_t nbytes, SnlrtError *err)
{
    return snlrt_write(STDOUT_FILENO, "standard output", text, nbytes, err);
}

SnlrtStatus snlrt_program_not_numbers(int64_t position, SnlrtError *err)
{
    return snlrt_fail(err, SNLRT_INPUT,
                      "the logits at position %lld are not numbers: found NaN or infinity; "
                      "--verify tells whether the weights are as they were compiled: if so, "
                      "compile with --weights f32, without --plan, or look at what the model "
                      "itself computes",
                      (long long)position);
}

static SnlrtStatus read_all(int fd, const char *name, size_t max_nbytes, SnlrtText *out,
                            SnlrtError *err)
{
    char buffer[1 << 14];
    for (;;) {
        ssize_t n = read(fd, buffer, sizeof buffer);
        if (n == 0) return SNLRT_OK;
        if (n < 0 && errno == EINTR) {
            if (snlrt_interrupted()) return SNLRT_STOPPED;
            continue;
        }
        if (n < 0)
            return snlrt_fail(err, SNLRT_MACHINE, "%s: cannot read: %s", name, strerror(errno));
        if ((size_t)n > max_nbytes - out->n)
            return snlrt_fail(err, SNLRT_INPUT, "%s: more than %zu bytes of text", name,
                              max_nbytes);
        SNLRT_TRY(snlrt_bytes_append(out, buffer, (size_t)n, err));
    }
}

SnlrtStatus snlrt_read_text(const char *path, size_t max_nbytes, SnlrtText *out, SnlrtError *err)
{
    if (!path && snlrt_input_closed())
        return snlrt_fail(err, SNLRT_USAGE,
                          "standard input: found it closed, wanted a prompt: pipe one in, or give "
                          "it with -p TEXT, -f FILE or --ids \"1 2 3\"");
    if (!path) return read_all(STDIN_FILENO, "standard input", max_nbytes, out, err);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return snlrt_fail(err, SNLRT_MACHINE, "%s: cannot open: %s", path, strerror(errno));
    SnlrtStatus status = read_all(fd, path, max_nbytes, out, err);
    close(fd);
    return status;
}

SnlrtStatus snlrt_program_encode(const SnlrtProgram *program, const char *text, size_t nbytes,
                                 unsigned flags, SnlrtIds *out, SnlrtError *err)
{
    int code = snlrt_tokenizer_encode(program->tokenizer, text, nbytes, flags, out);
    if (code == SNLRT_TOKEN_OK) return SNLRT_OK;
    return snlrt_fail(err, code == SNLRT_TOKEN_MACHINE ? SNLRT_MACHINE : SNLRT_INPUT, "%s",
                      snlrt_tokenizer_error(program->tokenizer));
}

static int64_t default_threads(void)
{
    int64_t n = snlrt_usable_cores();
    return n < SNLRT_MAX_THREADS ? n : SNLRT_MAX_THREADS;
}

SnlrtStatus snlrt_program_session(const SnlrtProgram *program, SnlrtSession **out, SnlrtError *err)
{
    const SnlrtOptions *o = &program->options;
    int64_t compiled = program->model->graphs[program->graph].prefill_block, block = o->block;
    if (block > compiled) {
        snlrt_program_note(program,
                           "--block %lld: the program was compiled for blocks of up to %lld",
                           (long long)block, (long long)compiled);
        block = compiled;
    }
    int64_t cpus = snlrt_usable_cpus();
    if (o->pin && o->n_threads > cpus)
        snlrt_program_note(program, "--pin: %lld threads share %lld processor%s",
                           (long long)o->n_threads, (long long)cpus, cpus == 1 ? "" : "s");
    SnlrtSessionOptions options = {.model = program->model,
                                   .weights = program->payload.weights,
                                   .graph = program->graph,
                                   .n_threads = o->n_threads ? o->n_threads : default_threads(),
                                   .choose_threads = !o->n_threads,
                                   .pin_threads = o->pin,
                                   .context = o->context,
                                   .block = block};
    return snlrt_session_create(&options, out, err);
}

/* ---- the way in ---- */

static const char *base_name(const char *argv0)
{
    const char *slash = argv0 ? strrchr(argv0, '/') : NULL;
    const char *name = slash ? slash + 1 : argv0;
    return name && *name ? name : "program";
}

static SnlrtStatus find_mode(SnlrtProgram *p, SnlrtError *err)
{
    if (!p->options.mode) return SNLRT_OK;
    p->graph = snlrt_model_find_graph(p->model, p->options.mode);
    if (p->graph >= 0) return SNLRT_OK;
    char names[256] = "";
    for (int64_t i = 0; i < p->model->n_graphs; i++) {
        size_t n = strlen(names);
        snprintf(names + n, sizeof names - n, "%s%s", i ? ", " : "", p->model->graphs[i].name);
    }
    return snlrt_fail(err, SNLRT_USAGE, "--mode: found '%.100s', this program has: %s",
                      p->options.mode, names);
}

static SnlrtStatus open_tokenizer(SnlrtProgram *p, SnlrtError *err)
{
    bool has = p->payload.tokenizer_nbytes > 0;
    bool wanted = p->options.task != SNLRT_TASK_VERIFY && !p->options.ids;
    const char *text = NULL;
    int code =
        snlrt_tokenizer_create(wanted ? p->payload.tokenizer : NULL,
                               wanted ? p->payload.tokenizer_nbytes : 0, &p->tokenizer, &text);
    if (code != SNLRT_TOKEN_OK)
        return snlrt_fail(err, code == SNLRT_TOKEN_MACHINE ? SNLRT_MACHINE : SNLRT_INPUT,
                          "tokenizer: %s", text);
    bool needed = !p->options.ids &&
                  (p->options.task == SNLRT_TASK_GENERATE || p->options.task == SNLRT_TASK_PPL);
    if (needed && !has)
        return snlrt_fail(err, SNLRT_USAGE,
                          "the model came without a tokenizer: give the prompt as token ids with "
                          "--ids \"1 2 3\"");
    return SNLRT_OK;
}

static SnlrtStatus copy_to_huge_pages(SnlrtProgram *p, SnlrtError *err)
{
    if (!p->options.huge_pages) return SNLRT_OK;
    if (snlrt_huge_pages_offered())
        return snlrt_payload_copy(&p->payload, p->model->swept_bytes, err);
    snlrt_program_note(p, "--huge-pages: this system gives none (%s)", SNLRT_HUGE_PAGES_FILE);
    return SNLRT_OK;
}

static SnlrtStatus print_help(const SnlrtProgram *p, SnlrtError *err)
{
    char *text = snlrt_options_help(p->name);
    if (!text) return snlrt_fail(err, SNLRT_MACHINE, "out of memory");
    SnlrtStatus status = snlrt_program_print(text, strlen(text), err);
    free(text);
    return status;
}

static SnlrtStatus run_task(SnlrtProgram *p, const char *argv0, SnlrtError *err)
{
    if (p->options.task == SNLRT_TASK_HELP) return print_help(p, err);
    SNLRT_TRY(snlrt_model_check(p->model, err));
    SNLRT_TRY(find_mode(p, err));
    SNLRT_TRY(snlrt_payload_open_self(p->model, argv0, &p->payload, err));
    SNLRT_TRY(copy_to_huge_pages(p, err));
    SNLRT_TRY(open_tokenizer(p, err));
    switch (p->options.task) {
    case SNLRT_TASK_GENERATE:
        return snlrt_program_generate(p, err);
    case SNLRT_TASK_PPL:
        return snlrt_program_ppl(p, err);
    case SNLRT_TASK_BENCH:
        return snlrt_program_bench(p, err);
    case SNLRT_TASK_ABOUT:
        return snlrt_program_about(p, err);
    case SNLRT_TASK_VERIFY:
        return snlrt_program_verify(p, err);
    case SNLRT_TASK_HELP:
        break;
    }
    return SNLRT_OK;
}

int snlrt_program_main(const SnlrtModel *model, int argc, char **argv)
{
    SnlrtError err = {""};
    const char *argv0 = argc > 0 ? argv[0] : NULL;
    SnlrtModel chosen;
    SnlrtProgram program = {.model = &chosen, .name = base_name(argv0), .started = snlrt_seconds()};
    SnlrtStatus status = snlrt_level_choose(model, getenv("SNL_LEVEL"), &chosen, &err);
    snlrt_fill_standard_descriptors();
    signal(SIGPIPE, SIG_IGN); /* a closed pipe is a write error like any other, */
    signal(SIGXFSZ, SIG_IGN); /* and so is a file that may not grow */
    if (status == SNLRT_OK) status = snlrt_options_parse(argc, argv, &program.options, &err);
    if (status == SNLRT_OK) status = run_task(&program, argv0, &err);
    if (status == SNLRT_STOPPED) status = SNLRT_OK; /* Ctrl-C */
    if (status != SNLRT_OK) fprintf(stderr, "%s: %s\n", program.name, err.text);
    snlrt_tokenizer_destroy(program.tokenizer);
    snlrt_payload_close(&program.payload);
    snlrt_options_deinit(&program.options);
    return status;
}
