/* runtime/verify.c -- --verify: every packed weight against the hash that snlpc noted. */
#include "runtime/program.h"

#include "runtime/manifest.h"

#include <inttypes.h>
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

SnlrtStatus snlrt_program_verify(SnlrtProgram *program, SnlrtError *err)
{
    SnlrtManifest manifest;
    SnlrtManifestWeight weight;
    Tally tally = {0};
    bool more = true;
    SNLRT_TRY(snlrt_manifest_open(program->payload.manifest, program->payload.manifest_nbytes,
                                  &manifest, err));
    for (;;) {
        SNLRT_TRY(snlrt_manifest_next(&manifest, &weight, &more, err));
        if (!more) break;
        verify_weight(program, &weight, &tally);
    }
    if (tally.n_bad)
        return snlrt_fail(err, SNLRT_INPUT,
                          "%" PRIu64 " of %" PRIu64
                          " weights are damaged: compile the program again",
                          tally.n_bad, tally.n_weights);
    char text[128];
    int n = snprintf(text, sizeof text, "%" PRIu64 " weights, %" PRIu64 " bytes: intact\n",
                     tally.n_weights, tally.n_bytes);
    return snlrt_program_print(text, (size_t)n, err);
}
