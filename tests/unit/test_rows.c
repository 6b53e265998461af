/* Rows of tables that are not in memory: found missing, asked for together, and no others. */
#define _GNU_SOURCE /* mincore */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/fake_model.c"

#include "runtime/model.h"
#include "runtime/rows.h"
#include "runtime/session.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Rows across pages; the second table ends with the file, in the middle of a page, and has fewer
 * rows than there are tokens. */
enum { SCRIPT = 64, ROWS = FAKE_VOCAB, WIDE = 3000, FEW = 200, WIDER = 5000, PAGES = 432 };
static const SnlrtTable tables[] = {{SCRIPT, ROWS, WIDE}, {SCRIPT + ROWS * WIDE, FEW, WIDER}};
enum { NBYTES = SCRIPT + ROWS * WIDE + FEW * WIDER };
/* The system may take what lies around a page with it, but not the table. */
enum { NEAR = 16 };

static SnlrtModel model_of(int64_t n_tables)
{
    SnlrtModel model = snlrt_model;
    model.n_tables = n_tables;
    model.tables = tables;
    return model;
}

typedef struct File {
    int fd;
    uint8_t *map;
    size_t page;
} File;

static bool in_memory(const File *f, size_t page)
{
    unsigned char is = 0;
    assert_int_equal(mincore(f->map + page * f->page, 1, &is), 0);
    return is & 1;
}

static size_t n_in_memory(const File *f)
{
    size_t n = 0;
    for (size_t page = 0; page * f->page < NBYTES; page++) n += in_memory(f, page);
    return n;
}

static void drop(File *f)
{
    assert_int_equal(fdatasync(f->fd), 0);
    assert_int_equal(posix_fadvise(f->fd, 0, 0, POSIX_FADV_DONTNEED), 0);
}

/* A file of a script and two tables that is on the disk and not in memory. */
static void open_cold(File *f)
{
    char path[] = "/tmp/snlrt-rows-XXXXXX";
    static uint8_t bytes[NBYTES];
    const int32_t script[] = {3, 70, 71, 72};
    memset(bytes, 1, sizeof bytes);
    memcpy(bytes, script, sizeof script);
    f->page = (size_t)sysconf(_SC_PAGESIZE);
    f->fd = mkstemp(path);
    assert_true(f->fd >= 0);
    unlink(path);
    assert_int_equal(write(f->fd, bytes, sizeof bytes), sizeof bytes);
    drop(f);
    f->map = mmap(NULL, NBYTES, PROT_READ, MAP_PRIVATE, f->fd, 0);
    assert_true(f->map != MAP_FAILED);
    assert_int_equal(madvise(f->map, NBYTES, MADV_RANDOM), 0);
    if (n_in_memory(f) == 0) return;
    print_message("/tmp is always in memory\n");
    skip();
}

static void close_file(File *f)
{
    munmap(f->map, NBYTES);
    close(f->fd);
}

/* Waits for the disk; the limit is for a test that fails. */
static bool comes(const File *f, size_t page)
{
    for (int i = 0; i < 20000 && !in_memory(f, page); i++)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    return in_memory(f, page);
}

/* All pages of the rows of `ids` come, and none far from them. */
static void assert_rows_come(const File *f, const SnlrtModel *model, const int32_t *ids, int64_t n,
                             bool near_script)
{
    static bool near[PAGES + 2 * NEAR];
    memset(near, 0, sizeof near);
    for (size_t page = 0; near_script && page <= NEAR; page++) near[page + NEAR] = true;
    for (int64_t i = 0; i < n * model->n_tables; i++) {
        const SnlrtTable *t = &model->tables[i / n];
        int32_t id = ids[i % n];
        if (id < 0 || id >= t->rows) continue;
        size_t first = (size_t)(t->offset + id * t->row_bytes) / f->page;
        size_t last = (size_t)(t->offset + (id + 1) * t->row_bytes - 1) / f->page;
        for (size_t page = first; page <= last; page++)
            if (!comes(f, page)) fail_msg("row %d of table %d: page %zu", id, (int)(i / n), page);
        memset(near + first, true, last - first + 2 * NEAR + 1);
    }
    for (size_t page = 0; page * f->page < NBYTES; page++)
        if (!near[page + NEAR] && in_memory(f, page)) fail_msg("page %zu: not asked for", page);
}

static void asked_rows_come_and_no_others(void **state)
{
    (void)state;
    static const int32_t ids[] = {7, 0, 199, 255, 7};
    const SnlrtModel model = model_of(2);
    for (int64_t n_parts = 1; n_parts <= 20; n_parts += 3) { /* also more than there are rows */
        File f;
        open_cold(&f);
        for (int64_t part = 0; part < n_parts; part++)
            snlrt_rows_ask(&model, f.map, ids, 5, part, n_parts);
        assert_rows_come(&f, &model, ids, 5, false);
        close_file(&f);
    }
}

static void ids_without_a_row_are_passed_over(void **state)
{
    (void)state;
    static const int32_t ids[] = {-1, ROWS, INT32_MIN, INT32_MAX};
    const SnlrtModel model = model_of(2);
    File f;
    open_cold(&f);
    assert_false(snlrt_rows_missing(&model, f.map, ids, 4));
    snlrt_rows_ask(&model, f.map, ids, 4, 0, 1);
    assert_int_equal(n_in_memory(&f), 0);
    close_file(&f);
}

/* As far as the file goes; beyond its end there is nothing to wait for. */
static void a_file_cut_short_is_no_harm(void **state)
{
    (void)state;
    static const int32_t ids[] = {3, 100, 199, 255};
    const SnlrtModel model = model_of(2);
    File f;
    open_cold(&f);
    assert_int_equal(ftruncate(f.fd, SCRIPT + 10 * WIDE), 0);
    snlrt_rows_ask(&model, f.map, ids, 4, 0, 1);
    assert_true(comes(&f, (SCRIPT + 3 * WIDE) / f.page));
    close_file(&f);
}

static void missing_rows_are_noticed(void **state)
{
    (void)state;
    static const int32_t ids[] = {20, 120, 70};
    const SnlrtModel none = model_of(0), one = model_of(1), two = model_of(2);
    File f;
    open_cold(&f);
    assert_false(snlrt_rows_missing(&none, f.map, ids, 3));
    assert_false(snlrt_rows_missing(&one, f.map, ids, 1)); /* one row is read soon enough */
    assert_int_equal(n_in_memory(&f), 0);
    assert_true(snlrt_rows_missing(&two, f.map, ids, 3));
    for (size_t at = 0; at < NBYTES; at += f.page) (void)*(volatile uint8_t *)(f.map + at);
    assert_false(snlrt_rows_missing(&two, f.map, ids, 3));
    close_file(&f);
}

/* The step of this model reads no table, so what comes was asked for. */
static void a_session_asks_for_the_rows_of_its_tokens(void **state)
{
    (void)state;
    static const int32_t ids[] = {9, 180, 60, 250, 120};
    const SnlrtModel model = model_of(2);
    for (int64_t n_threads = 1; n_threads <= 3; n_threads++) {
        File f;
        SnlrtSession *session;
        open_cold(&f);
        SnlrtSessionOptions options = {.model = &model, .weights = f.map, .n_threads = n_threads};
        assert_int_equal(snlrt_session_create(&options, &session, NULL), SNLRT_OK);
        assert_int_equal(snlrt_session_run(session, ids, 4, 0, NULL, NULL, NULL), SNLRT_OK);
        assert_int_equal(snlrt_session_run(session, ids + 4, 1, SNLRT_RUN_TEXT, NULL, NULL, NULL),
                         SNLRT_OK);
        snlrt_session_destroy(session);
        assert_rows_come(&f, &model, ids, 5, true);
        close_file(&f);
    }
}

static void run_single(SnlrtSession *session, int32_t id)
{
    assert_int_equal(snlrt_session_run(session, &id, 1, SNLRT_RUN_TEXT, NULL, NULL, NULL),
                     SNLRT_OK);
}

/* Once nothing was missing for a while, a token alone costs no look, until a prompt's rows miss. */
static void single_tokens_stop_looking(void **state)
{
    (void)state;
    enum { LOOKS_AND_MORE = 20, NOT_LOOKED_FOR = 250, LOOKED_FOR = 120 };
    static const int32_t prompt[] = {9, 180, 60, 30};
    const SnlrtModel model = model_of(2);
    const SnlrtTable *table = &tables[0];
    File f;
    SnlrtSession *session;
    open_cold(&f);
    SnlrtSessionOptions options = {.model = &model, .weights = f.map, .n_threads = 1};
    assert_int_equal(snlrt_session_create(&options, &session, NULL), SNLRT_OK);
    for (size_t at = 0; at < NBYTES; at += f.page) (void)*(volatile uint8_t *)(f.map + at);
    for (int i = 0; i < LOOKS_AND_MORE; i++) run_single(session, 1);
    assert_int_equal(madvise(f.map, NBYTES, MADV_DONTNEED), 0);
    drop(&f);
    run_single(session, NOT_LOOKED_FOR);
    assert_int_equal(snlrt_session_run(session, prompt, 4, 0, NULL, NULL, NULL), SNLRT_OK);
    run_single(session, LOOKED_FOR);
    snlrt_session_destroy(session);
    assert_true(comes(&f, (size_t)(table->offset + LOOKED_FOR * table->row_bytes) / f.page));
    assert_false(
        in_memory(&f, (size_t)(table->offset + NOT_LOOKED_FOR * table->row_bytes) / f.page));
    close_file(&f);
}

static void damaged_tables_are_refused(void **state)
{
    (void)state;
    static const SnlrtTable wrong[] = {{-1, 1, 1}, {0, -1, 1},        {0, 1, 0},
                                       {0, 1, -1}, {1, INT64_MAX, 1}, {0, INT64_MAX / 2, 3}};
    SnlrtModel model = model_of(2);
    SnlrtError err = {""};
    assert_int_equal(snlrt_model_check(&model, &err), SNLRT_OK);
    model.n_tables = -1;
    assert_int_equal(snlrt_model_check(&model, &err), SNLRT_INTERNAL);
    model.n_tables = 1;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        model.tables = &wrong[i];
        assert_int_equal(snlrt_model_check(&model, &err), SNLRT_INTERNAL);
        assert_non_null(strstr(err.text, "the model's table in the program is damaged"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(asked_rows_come_and_no_others),
        cmocka_unit_test(ids_without_a_row_are_passed_over),
        cmocka_unit_test(a_file_cut_short_is_no_harm),
        cmocka_unit_test(missing_rows_are_noticed),
        cmocka_unit_test(a_session_asks_for_the_rows_of_its_tokens),
        cmocka_unit_test(single_tokens_stop_looking),
        cmocka_unit_test(damaged_tables_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
