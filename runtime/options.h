/* runtime/options.h -- the program's command line. */
#ifndef SNLRT_OPTIONS_H
#define SNLRT_OPTIONS_H

#include "runtime/sampler.h"
#include "runtime/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum SnlrtTask {
    SNLRT_TASK_GENERATE,
    SNLRT_TASK_PPL,
    SNLRT_TASK_BENCH,
    SNLRT_TASK_ABOUT,
    SNLRT_TASK_VERIFY,
    SNLRT_TASK_HELP
} SnlrtTask;

enum { SNLRT_DEFAULT_PREDICT = 256 };

/* Texts point into argv. */
typedef struct SnlrtOptions {
    SnlrtTask task;
    const char *prompt, *prompt_file, *ids; /* at most one is not NULL */
    const char *logits_file, *states_file, *ppl_file;
    const char *mode;   /* NULL: the first */
    const char **stops; /* [n_stops] */
    size_t n_stops;
    int64_t n_predict;                 /* -1: until the end of the sequence or of the context */
    int64_t n_threads, context, block; /* 0: not given */
    SnlrtSampling sampling;
    bool seeded;                      /* --seed was given */
    const char *idle_sampling_option; /* an option that does nothing without --temp; NULL: none */
    bool ignore_eos, skip_half, json, pin, huge_pages;
} SnlrtOptions;

/* SNLRT_USAGE (message in err) for everything that the command line alone shows to be wrong. */
SnlrtStatus snlrt_options_parse(int argc, char **argv, SnlrtOptions *out, SnlrtError *err);
void snlrt_options_deinit(SnlrtOptions *options);

/* The text of --help. Caller frees; NULL: out of memory. */
char *snlrt_options_help(const char *program);

#endif
