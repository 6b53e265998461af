/* runtime/model.h -- the payload that the program carries: found, checked and mapped.
 *
 * Costs a few system calls, whatever the size of the weights: pages come in when they are first
 * read. */
#ifndef SNLRT_MODEL_H
#define SNLRT_MODEL_H

#include "runtime/abi.h"
#include "runtime/status.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct SnlrtPayload {
    const uint8_t *weights; /* the payload's beginning */
    const void *tokenizer;  /* NULL: none */
    const char *manifest;
    size_t tokenizer_nbytes, manifest_nbytes;
    SnlrtFooter footer;
    void *map; /* the whole mapping, for close */
    size_t map_nbytes;
    size_t copied_nbytes; /* of its beginning (snlrt_payload_copy) */
} SnlrtPayload;

/* Opens the running program: /proc/self/exe, or where that is not there, `argv0` (looked up in PATH
 * when it has no slash). */
SnlrtStatus snlrt_payload_open_self(const SnlrtModel *model, const char *argv0, SnlrtPayload *out,
                                    SnlrtError *err);
/* The same from a named file. On failure nothing is left open. */
SnlrtStatus snlrt_payload_open(const SnlrtModel *model, const char *path, SnlrtPayload *out,
                               SnlrtError *err);
/* Puts a copy in memory of the process in the place of the first `nbytes` of the weights, in huge
 * pages as far as they fill such pages and the system has them: fewer misses of address
 * translation, and reading ahead does not stop every 4 KiB. For kernels and files that are not
 * mapped so anyway. Without room for the copy the payload is as before. */
SnlrtStatus snlrt_payload_copy(SnlrtPayload *payload, int64_t nbytes, SnlrtError *err);
/* May a process ask for huge pages here? */
bool snlrt_huge_pages_offered(void);
#define SNLRT_HUGE_PAGES_FILE "/sys/kernel/mm/transparent_hugepage/enabled"
void snlrt_payload_close(SnlrtPayload *payload);

/* Does the model table itself make sense (version, at least one graph, sizes)? */
SnlrtStatus snlrt_model_check(const SnlrtModel *model, SnlrtError *err);
/* Index of the graph called `name`, -1: none. */
int64_t snlrt_model_find_graph(const SnlrtModel *model, const char *name);

#endif
