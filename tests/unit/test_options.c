/* The program's command line: what is read, what is refused and with which words. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>

#include "runtime/options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_ARGS = 16 };

static SnlrtStatus parse(const char *const *args, SnlrtOptions *out, SnlrtError *err)
{
    char *argv[MAX_ARGS + 2] = {(char *)(uintptr_t) "prog"};
    int argc = 1;
    for (; args[argc - 1]; argc++) argv[argc] = (char *)(uintptr_t)args[argc - 1];
    return snlrt_options_parse(argc, argv, out, err);
}

#define PARSE(out, err, ...) parse((const char *const[MAX_ARGS]){__VA_ARGS__}, out, err)

static void defaults_are_greedy_text(void **state)
{
    (void)state;
    SnlrtOptions o;
    assert_int_equal(PARSE(&o, NULL, NULL), SNLRT_OK);
    assert_int_equal(o.task, SNLRT_TASK_GENERATE);
    assert_null(o.prompt);
    assert_int_equal(o.n_predict, 256);
    assert_int_equal(o.n_threads + o.context + o.block, 0);
    assert_true(o.sampling.temperature == 0 && o.sampling.top_p == 1 && o.sampling.min_p == 0 &&
                o.sampling.repeat_penalty == 1 && !o.seeded && !o.ignore_eos);
    snlrt_options_deinit(&o);
}

static void every_value_arrives(void **state)
{
    (void)state;
    SnlrtOptions o;
    assert_int_equal(PARSE(&o, NULL, "-p", "hi", "-n", "-1", "-t2", "--context=64", "--block", "7",
                           "--mode", "alt", "--stop", "a", "--stop=b"),
                     SNLRT_OK);
    assert_string_equal(o.prompt, "hi");
    assert_int_equal(o.n_predict, -1);
    assert_int_equal(o.n_threads, 2);
    assert_int_equal(o.context, 64);
    assert_int_equal(o.block, 7);
    assert_string_equal(o.mode, "alt");
    assert_int_equal(o.n_stops, 2);
    assert_string_equal(o.stops[1], "b");
    snlrt_options_deinit(&o);
    assert_int_equal(PARSE(&o, NULL, "--temp", "0.8", "--top-k", "40", "--top-p", "0.95", "--min-p",
                           "0.05", "--seed", "18446744073709551615"),
                     SNLRT_OK);
    assert_true(o.sampling.temperature == 0.8 && o.sampling.top_k == 40 &&
                o.sampling.top_p == 0.95 && o.sampling.min_p == 0.05);
    assert_true(o.seeded && o.sampling.seed == UINT64_MAX);
    assert_null(o.idle_sampling_option);
    snlrt_options_deinit(&o);
}

static void tasks_and_files_are_read(void **state)
{
    (void)state;
    SnlrtOptions o;
    assert_int_equal(PARSE(&o, NULL, "--ppl", "x.txt", "--ppl-skip-half", "--json"), SNLRT_OK);
    assert_int_equal(o.task, SNLRT_TASK_PPL);
    assert_true(o.skip_half && o.json);
    assert_string_equal(o.ppl_file, "x.txt");
    snlrt_options_deinit(&o);
    assert_int_equal(PARSE(&o, NULL, "--bench"), SNLRT_OK);
    assert_int_equal(o.task, SNLRT_TASK_BENCH);
    snlrt_options_deinit(&o);
    assert_int_equal(PARSE(&o, NULL, "--ids", "1 2", "--logits", "a", "--states", "b"), SNLRT_OK);
    assert_string_equal(o.ids, "1 2");
    snlrt_options_deinit(&o);
    assert_int_equal(PARSE(&o, NULL, "-h", "--nonsense"), SNLRT_OK);
    assert_int_equal(o.task, SNLRT_TASK_HELP);
    snlrt_options_deinit(&o);
}

static void sampling_options_without_temperature_are_noted(void **state)
{
    (void)state;
    SnlrtOptions o;
    assert_int_equal(PARSE(&o, NULL, "--top-k", "4"), SNLRT_OK);
    assert_string_equal(o.idle_sampling_option, "top-k");
    snlrt_options_deinit(&o);
}

static void bad_lines_are_refused_with_a_reason(void **state)
{
    (void)state;
    static const struct {
        const char *args[4];
        const char *message;
    } cases[] = {
        {{"--nope"}, "unknown option '--nope'; --help lists them"},
        {{"-x"}, "unknown option '-x'; --help lists them"},
        {{"-n"}, "--predict needs an argument: N"},
        {{"--ppl"}, "--ppl needs an argument: FILE"},
        {{"--json=1"}, "--json takes no argument: found '--json=1'"},
        {{"hello"}, "unexpected argument 'hello'; a prompt is given with -p"},
        {{"-n", "x"}, "--predict: found 'x', wanted a number of tokens, or -1"},
        {{"-n", "-2"}, "--predict: found '-2', wanted a number of tokens, or -1"},
        {{"-n", "1e3"}, "--predict: found '1e3', wanted a number of tokens, or -1"},
        {{"-n", ""}, "--predict: found '', wanted a number of tokens, or -1"},
        {{"-n", "99999999999999999999"},
         "--predict: found '99999999999999999999', wanted at most 2147483647"},
        {{"-n", "-99999999999999999999"},
         "--predict: found '-99999999999999999999', wanted a number of tokens, or -1"},
        {{"-t", "99999999999999999999"},
         "--threads: found '99999999999999999999', wanted at most 1024"},
        {{"-t", "1025"}, "--threads: found '1025', wanted at most 1024"},
        {{"-c", "2147483648"}, "--context: found '2147483648', wanted at most 2147483647"},
        {{"--block", "99999999999999999999"},
         "--block: found '99999999999999999999', wanted at most 2147483647"},
        {{"-t", "0"}, "--threads: found '0', wanted 1 or more threads"},
        {{"-c", "0"}, "--context: found '0', wanted 1 or more positions"},
        {{"--block", "0"}, "--block: found '0', wanted 1 or more tokens"},
        {{"--temp", "warm"}, "--temp: found 'warm', wanted a number"},
        {{"--temp", "nan"}, "--temp: found 'nan', wanted a number"},
        {{"--temp", "-1"}, "temperature: found -1, wanted 0 or more"},
        {{"--top-p", "0"}, "top-p: found 0, wanted more than 0 and at most 1"},
        {{"--seed", "-1"}, "--seed: found '-1', wanted a whole number from 0 to 2^64 - 1"},
        {{"--stop", ""}, "--stop: found '', wanted a text that is not empty"},
        {{"-p", "a", "--ids", "1"}, "only one prompt: -p TEXT, -f FILE or --ids \"1 2 3\""},
        {{"--bench", "--about"},
         "only one of --ppl, --bench, --about, --verify can be done at a time"},
        {{"--ppl-skip-half"}, "--ppl-skip-half needs --ppl FILE"},
        {{"--ids", "1", "--stop", "x"}, "--stop looks at text, and --ids gives none"},
        {{"--bench", "--logits", "f"}, "--logits has no use with --bench"},
        {{"--states", "f", "--ppl", "f"}, "--states has no use with --ppl"},
        {{"--bench", "-p", "f"}, "--prompt has no use with --bench"},
        {{"-f", "f", "--about"}, "--file has no use with --about"},
        {{"--verify", "--ids", "1"}, "--ids has no use with --verify"},
        {{"--verify", "--json"}, "--json has no use with --verify"},
        {{"--verify", "-c", "5"}, "--context has no use with --verify"},
        {{"--huge-pages", "--verify"}, "--huge-pages has no use with --verify"},
        {{"--about", "--mode", "seq"}, "--mode has no use with --about"},
        {{"--bench", "--ppl-skip-half"}, "--ppl-skip-half needs --ppl FILE"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        SnlrtOptions o;
        SnlrtError err = {""};
        const char *args[5] = {cases[i].args[0], cases[i].args[1], cases[i].args[2],
                               cases[i].args[3]};
        assert_int_equal(parse(args, &o, &err), SNLRT_USAGE);
        assert_string_equal(err.text, cases[i].message);
        assert_null(o.stops);
    }
}

static void what_only_a_text_has_is_refused_elsewhere(void **state)
{
    (void)state;
    static const char *const options[][2] = {
        {"--predict", "5"}, {"--temp", "1"},           {"--top-k", "5"}, {"--top-p", "0.5"},
        {"--min-p", "0.5"}, {"--repeat-penalty", "2"}, {"--seed", "1"},  {"--stop", "x"},
        {"--ignore-eos"},   {"--prompt", "x"},         {"--ids", "1"},   {"--logits", "f"}};
    static const char *const tasks[] = {"--bench", "--about", "--verify", "--ppl=f"};
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        for (size_t j = 0; j < sizeof tasks / sizeof *tasks; j++) {
            SnlrtOptions o;
            SnlrtError err = {""};
            char wanted[64];
            assert_int_equal(PARSE(&o, &err, tasks[j], options[i][0], options[i][1]), SNLRT_USAGE);
            snprintf(wanted, sizeof wanted, "%s has no use with %.*s", options[i][0],
                     (int)strcspn(tasks[j], "="), tasks[j]);
            assert_string_equal(err.text, wanted);
        }
        SnlrtOptions o;
        assert_int_equal(PARSE(&o, NULL, options[i][0], options[i][1]), SNLRT_OK);
        snlrt_options_deinit(&o);
    }
}

static void what_a_task_has_a_use_for_is_taken(void **state)
{
    (void)state;
    static const char *const lines[][12] = {
        {"--ppl", "f", "-t", "2", "-c", "9", "--block", "4", "--mode=x", "--pin", "--json"},
        {"--bench", "-t", "2", "-c", "9", "--block", "4", "--mode=x", "--huge-pages", "--json"},
        {"--about", "--json"},
        {"--verify"}};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        SnlrtOptions o;
        assert_int_equal(parse(lines[i], &o, NULL), SNLRT_OK);
        snlrt_options_deinit(&o);
    }
}

static void help_lists_every_option(void **state)
{
    (void)state;
    char *help = snlrt_options_help("prog");
    assert_non_null(help);
    assert_non_null(strstr(help, "Usage: prog "));
#define GROUP(heading) assert_non_null(strstr(help, heading ":"));
#define OPTION(ID, name, letter, tasks, argument, text)                                            \
    assert_non_null(strstr(help, "--" name " "));
#include "runtime/options.def"
#undef OPTION
#undef GROUP
    free(help);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_greedy_text),
        cmocka_unit_test(every_value_arrives),
        cmocka_unit_test(tasks_and_files_are_read),
        cmocka_unit_test(sampling_options_without_temperature_are_noted),
        cmocka_unit_test(bad_lines_are_refused_with_a_reason),
        cmocka_unit_test(what_only_a_text_has_is_refused_elsewhere),
        cmocka_unit_test(what_a_task_has_a_use_for_is_taken),
        cmocka_unit_test(help_lists_every_option),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
