/* tests/support/golden.h -- the stored reference cases: cases.json and expected.safetensors of a
 * folder.
 *
 * Folders: <shared>/golden/<model> (shared: $SNL_SHARED, else ../shared beside the repository),
 * <shared>/golden/own/<model> (config and weights in `model_dir`), and the small copies in
 * tests/data/. The reader here is the tests' own, so that a mistake in the product's reader cannot
 * hide. Anything malformed ends the test. */
#ifndef SNL_TESTS_GOLDEN_H
#define SNL_TESTS_GOLDEN_H

#include "ir/base/diag.h"

#include <jansson.h>
#include <stdbool.h>

typedef struct GoldenTensor {
    const char *name;
    bool is_int; /* I32, else F32 */
    int rank;
    int64_t dim[4], n;
    const uint8_t *bytes; /* little-endian, unaligned */
} GoldenTensor;

double golden_at(const GoldenTensor *tensor, int64_t i);

typedef struct GoldenIds {
    int64_t *at;
    size_t n;
} GoldenIds;

/* One case; fields as in REFERENCE.md section 0. Absent strings are "". */
typedef struct GoldenCase {
    const char *key, *plan, *method, *hs_prefix, *why_not;
    bool applies;
    bool has_logits;
    GoldenTensor logits;         /* [T, V]; of a generation [steps, V] */
    GoldenIds tokens;            /* full-sequence cases: the input */
    GoldenIds prompt, generated; /* generations */
    int hs_count;
} GoldenCase;

typedef struct Golden {
    SnlArena *arena;
    const char *folder, *model_dir, *name;
    json_t *root;
    json_t *header;
    SnlSource expected;
    size_t data; /* offset of the tensors' bytes */
    GoldenCase *cases;
    size_t n_cases;
} Golden;

void golden_open(Golden *g, const char *folder);
void golden_close(Golden *g);
bool golden_tensor(const Golden *g, const char *name, GoldenTensor *out); /* false: absent */
const GoldenCase *golden_case(const Golden *g, const char *key);          /* NULL: absent */

/* The eight model names, in a fixed order. */
enum { GOLDEN_MODELS = 8 };
extern const char *const golden_models[GOLDEN_MODELS];
/* "<shared>/golden" (NULL when it is not there) and "<repository>/tests/data". Static storage. */
const char *golden_shared(void);
const char *golden_data(void);

#endif
