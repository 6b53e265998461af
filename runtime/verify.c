/* runtime/verify.c -- --verify: every packed weight against the hash that snlpc noted, their list
 * and the tokenizer against the payload's id. */
#include "runtime/program.h"

#include "runtime/manifest.h"

#include <inttypes.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

typedef struct Tally {
    uint64_t n_weights, n_bytes, n_bad;
} Tally;

static void verify_weight(const SnlrtProgram *p, const SnlrtManifestWeight *w, Tally *tally)
{
    uint64_t room = p->payload.footer.weights_bytes;
    tally->n_weights++;
    if (w->offset > room || w->nbytes > room - w->offset) {
        tally->n_bad++;
        fprintf(stderr, "%s: weight %s: its place lies outside the weights\n", p->name, w->name);
        return;
    }
    uint64_t hash = XXH3_64bits(p->payload.weights + w->offset, (size_t)w->nbytes);
    tally->n_bytes += w->nbytes;
    if (hash == w->hash) return;
    tally->n_bad++;
    fprintf(stderr, "%s: weight %s: found hash %016" PRIx64 ", wanted %016" PRIx64 "\n", p->name,
            w->name, hash, w->hash);
}

static void hash_text(XXH3_state_t *hash, const char *text)
{
    XXH3_64bits_update(hash, text, strlen(text) + 1);
}

/* A weight's part in the payload's id (runtime/abi.h). */
static void hash_place(XXH3_state_t *hash, const SnlrtManifestWeight *w)
{
    uint64_t place[4] = {w->offset, w->nbytes, w->rows, w->cols};
    hash_text(hash, w->name);
    hash_text(hash, w->format);
    hash_text(hash, w->layout);
    XXH3_64bits_update(hash, place, sizeof place);
}

static SnlrtStatus verify_id(const SnlrtProgram *p, XXH3_state_t *hash, SnlrtError *err)
{
    size_t nbytes = p->payload.tokenizer_nbytes;
    if (nbytes) XXH3_64bits_update(hash, p->payload.tokenizer, nbytes);
    uint64_t id = XXH3_64bits_digest(hash), wanted = (uint64_t)p->model->payload_id;
    if (id == wanted) return SNLRT_OK;
    return snlrt_fail(err, SNLRT_INPUT,
                      "%s: found id %016" PRIx64 ", wanted %016" PRIx64
                      ": compile the program again",
                      nbytes ? "the tokenizer or the list of weights is damaged"
                             : "the list of weights is damaged",
                      id, wanted);
}

SnlrtStatus snlrt_program_verify(SnlrtProgram *program, SnlrtError *err)
{
    SnlrtManifest manifest;
    SnlrtManifestWeight weight;
    Tally tally = {0};
    bool more = true;
    XXH3_state_t hash;
    XXH3_64bits_reset(&hash);
    SNLRT_TRY(snlrt_manifest_open(program->payload.manifest, program->payload.manifest_nbytes,
                                  &manifest, err));
    for (;;) {
        SNLRT_TRY(snlrt_manifest_next(&manifest, &weight, &more, err));
        if (!more) break;
        verify_weight(program, &weight, &tally);
        hash_place(&hash, &weight);
    }
    if (tally.n_bad)
        return snlrt_fail(err, SNLRT_INPUT,
                          "%" PRIu64 " of %" PRIu64
                          " weights are damaged: compile the program again",
                          tally.n_bad, tally.n_weights);
    SNLRT_TRY(verify_id(program, &hash, err));
    char text[128];
    int n = snprintf(text, sizeof text, "%" PRIu64 " weights, %" PRIu64 " bytes%s: intact\n",
                     tally.n_weights, tally.n_bytes,
                     program->payload.tokenizer_nbytes ? ", and the tokenizer" : "");
    return snlrt_program_print(text, (size_t)n, err);
}
