/* tests/support/model_files.h -- small model folders made on the spot: safetensors files and
 * configurations with one thing changed. */
#ifndef SNL_TESTS_MODEL_FILES_H
#define SNL_TESTS_MODEL_FILES_H

#include "tests/support/support.h"

#include "compiler/frontend/model.h"

typedef struct FileTensor {
    const char *name;
    const char *dtype; /* "F32", "BF16", "F16", ... */
    int rank;
    int64_t dim[5];
} FileTensor;

/* Writes the tensors one after the other, their elements filled with a pattern that depends on the
 * name only (small finite numbers in every element type). Returns the path. */
char *model_files_write(Support *s, const char *file, const FileTensor *tensors, size_t n);

/* The tensors that the sources of a module ask for, in order of declaration. */
size_t model_files_of_module(Support *s, const SnlModule *m, FileTensor **out);

/* `base` with the members of `patch` put over it; the list under "-" names members to take out. */
char *model_files_patch(Support *s, const char *base, const char *patch);

void model_files_write_text(Support *s, const char *name, const char *text);
void model_files_fresh_diag(Support *s);
/* Writes config.json into the scratch folder and opens that with random weights. */
SnlStatus model_files_open_config(Support *s, const char *config, SnlModel *out);
/* The same for `base` with `patch`; refused fails the test. Then its IR text. */
SnlModel model_files_model(Support *s, const char *base, const char *patch);
const char *model_files_text(Support *s, const char *base, const char *patch);

#define assert_says(text, part)                                                                    \
    do {                                                                                           \
        if (!strstr(text, part)) fail_msg("\"%s\" is not in:\n%s", part, text);                    \
    } while (0)
#define assert_silent(text, part)                                                                  \
    do {                                                                                           \
        if (strstr(text, part)) fail_msg("\"%s\" is in:\n%s", part, text);                         \
    } while (0)

/* Smallest configurations of each layout. */
extern const char *const model_files_llama, *const model_files_qwen3, *const model_files_nanochat;

#endif
