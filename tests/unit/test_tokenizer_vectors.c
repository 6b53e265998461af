/* tests/unit/test_tokenizer_vectors.c -- real vocabularies against ids that Hugging Face's
 * tokenizers gave (../shared/models): stories260K's tokenizer.json, and gpt-2, phi-3 and mpt,
 * whose GGUF files tests/support/gguf_tokenizer.py turns into tokenizer.json. Skipped without
 * ../shared. */
#include "tests/support/tokenizer_fixture.h"

#include "ir/base/file.h"

#include <stdlib.h>
#include <string.h>

static const char separator[] = "\n__ggml_vocab_test__\n";

static const char *shared_path(Support *s, const char *name)
{
    char *shared = support_shared(s->arena);
    assert_non_null(shared);
    return snl_path_join(s->arena, shared, name);
}

static SnlSource read_text(Support *s, const char *path)
{
    SnlSource source;
    assert_int_equal(snl_file_read(s->arena, path, 1 << 24, s->diag, &source), SNL_OK);
    return source;
}

static SnlrtTokenizer *open_gguf(Support *s, const char *name)
{
    const char *python = getenv("SNL_PYTHON"), *root = getenv("SNL_SOURCE");
    const char *gguf = snl_arena_printf(s->arena, "models/tokenizers/%s.gguf", name);
    const char *json = support_path(s, "converted.json");
    const char *command = snl_arena_printf(
        s->arena, "'%s' '%s/tests/support/gguf_tokenizer.py' '%s' '%s'",
        python ? python : "python3", root ? root : ".", shared_path(s, gguf), json);
    assert_int_equal(system(command), 0);
    return tokenizer_open_file(s, json);
}

/* Decoding gives the text back (NFC'd texts are composed already). */
static void check_back(SnlrtTokenizer *t, const char *text, size_t n)
{
    SnlrtIds ids = {0};
    SnlrtText back = {0};
    assert_int_equal(snlrt_tokenizer_encode(t, text, n, 0, &ids), 0);
    assert_int_equal(snlrt_tokenizer_decode(t, ids.at, ids.n, 0, &back), 0);
    assert_int_equal(back.n, n);
    if (n) assert_memory_equal(back.at, text, n);
    snlrt_ids_deinit(&ids);
    snlrt_text_deinit(&back);
}

static void check_vectors(Support *s, const char *name)
{
    SnlrtTokenizer *t = open_gguf(s, name);
    SnlSource texts = read_text(
        s, shared_path(s, snl_arena_printf(s->arena, "models/tokenizers/%s.gguf.inp", name)));
    SnlSource ids = read_text(
        s, shared_path(s, snl_arena_printf(s->arena, "models/tokenizers/%s.gguf.out", name)));
    const char *text = texts.text, *line = ids.text;
    int n_texts = 0;
    for (bool last = false; !last; n_texts++) {
        const char *end = strstr(text, separator), *line_end = strchr(line, '\n');
        last = !end;
        if (last) end = texts.text + texts.len;
        if (!line_end) line_end = line + strlen(line);
        const char *wanted = snl_arena_strndup(s->arena, line, (size_t)(line_end - line));
        assert_encodes(t, SNLRT_ENCODE_SPECIAL, text, (size_t)(end - text), wanted);
        check_back(t, text, (size_t)(end - text));
        text = end + strlen(separator);
        line = line_end + 1;
    }
    assert_int_equal(n_texts, 47);
    SnlSource book = read_text(s, shared_path(s, "corpus/wikitext2-test.txt"));
    check_back(t, book.text, book.len);
    snlrt_tokenizer_destroy(t);
}

static void gpt2_gives_the_stored_ids(void **state)
{
    check_vectors(*state, "gpt-2");
}
static void phi3_gives_the_stored_ids(void **state)
{
    check_vectors(*state, "phi-3");
}
static void mpt_gives_the_stored_ids(void **state)
{
    check_vectors(*state, "mpt");
}

static void stories_begin_as_its_readme_says(void **state)
{
    static const char story[] = "Once upon a time, there was a little girl named Lily. She loved "
                                "to play outside in the park. "
                                "One day, she saw a big, red ball. She wanted to play with it, but "
                                "it was too high.\nLily's "
                                "mom said, \"Lily, let's go to the park.\" Lily was sad and didn't "
                                "know what to do. She said, "
                                "\"I want to play with your ball, but";
    static const char first[] =
        "1 403 407 261 378 432 383 286 261 376 298 315 421 395 317 426 338 401 "
        "396 267";
    Support *s = *state;
    SnlrtTokenizer *t = tokenizer_open_file(s, shared_path(s, "models/stories260K/tokenizer.json"));
    assert_encodes(t, SNLRT_ENCODE_DEFAULT, "Once upon a time", 16, "1 403 407 261 378");
    assert_decodes(t, 0, first,
                   "Once upon a time, there was a little girl named Lily. She loved to");
    SnlrtIds ids = {0};
    assert_int_equal(snlrt_tokenizer_encode(t, story, sizeof story - 1, SNLRT_ENCODE_DEFAULT, &ids),
                     0);
    assert_int_equal(ids.n, 121); /* the beginning token and the 120 of the README */
    assert_true(ids.n > 20 && ids.at[19] == 267);
    snlrt_ids_deinit(&ids);
    check_back(t, story, sizeof story - 1);
    snlrt_tokenizer_destroy(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        support_test(stories_begin_as_its_readme_says),
        support_test(gpt2_gives_the_stored_ids),
        support_test(phi3_gives_the_stored_ids),
        support_test(mpt_gives_the_stored_ids),
    };
    SnlArena *arena = snl_arena_create();
    bool present = support_shared(arena) != NULL;
    snl_arena_destroy(arena);
    return present ? cmocka_run_group_tests(tests, NULL, NULL) : support_skipped;
}
