/* runtime/rows.c -- rows of the model's tables, asked for together. */
#define _GNU_SOURCE /* RUSAGE_THREAD */
#include "runtime/rows.h"

#include <stddef.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

enum { MAX_LOOKS = 32 };

static const uint8_t *row_at(const SnlrtTable *table, const uint8_t *weights, int32_t id)
{
    if (id < 0 || id >= table->rows) return NULL;
    return weights + table->offset + id * table->row_bytes;
}

/* Of this thread, those that waited for the disk. */
static long disk_faults(void)
{
    struct rusage usage;
    return getrusage(RUSAGE_THREAD, &usage) == 0 ? usage.ru_majflt : 0;
}

/* By their faults, and not by mincore(2): that says nothing true of a file that belongs to another
 * user. Tokens and tables take turns, since what is in memory of one table mostly is of all. */
bool snlrt_rows_missing(const SnlrtModel *model, const uint8_t *weights, const int32_t *tokens,
                        int64_t n)
{
    if (model->n_tables < 1 || n * model->n_tables < 2) return false;
    int64_t looks = n < MAX_LOOKS ? n : MAX_LOOKS;
    long before = disk_faults();
    for (int64_t i = 0; i < looks; i++) {
        const volatile uint8_t *row =
            row_at(&model->tables[i % model->n_tables], weights, tokens[i * n / looks]);
        if (row) (void)*row;
        /* after 1, 2, 4, ...: asking the system takes longer than looking */
        bool counts = (i & (i + 1)) == 0 || i + 1 == looks;
        if (counts && disk_faults() != before) return true;
    }
    return false;
}

void snlrt_rows_ask(const SnlrtModel *model, const uint8_t *weights, const int32_t *tokens,
                    int64_t n, int64_t part, int64_t n_parts)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    for (int64_t i = part; i < n * model->n_tables; i += n_parts) { /* in the order of use */
        const SnlrtTable *table = &model->tables[i / n];
        const uint8_t *row = row_at(table, weights, tokens[i % n]);
        if (!row) continue;
        size_t before = (uintptr_t)row % page;
        madvise((void *)(uintptr_t)(row - before), before + (size_t)table->row_bytes,
                MADV_WILLNEED);
    }
}
