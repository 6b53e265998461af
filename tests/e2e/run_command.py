#!/usr/bin/env python3
"""`snlpc run`: signatures of every kind through libffi, the evaluator, comparisons, .npy in and out, and
what it refuses. (That kernels are right is tests of their own; here the way to call them is tested.)"""
import json
import pathlib
import re
import struct
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from program import DATA, SCRATCH, SNLPC, check, main, numbers, raw_numbers, run  # noqa: E402

IR = """module @signatures

weight @e : f32[7, 5] = source "m" "e"
weight @w : f32[9, 5] = source "m" "w"
weight @s : f32[1] = source "m" "s"
weight @h : f32[1] = fill {value = 0.5}
state @kv : f32[2, 1, 32, 8]
state @row : f32[5]

func @no_tensor(%pos: index) -> f32[T, 8] {
  %t = rope_table %pos {theta = 10000.0, width = 8} : f32[T, 8]
  return %t
}

func @one(%tokens: i32[T]) -> f32[T, 5] {
  %x = embed %tokens, @e : f32[T, 5]
  return %x
}

func @three(%a: f32[T, 5], %b: f32[T, 5], %pos: index, %c: f32[T, 5]) -> f32[T, 5], f32[T, 9] {
  %x = lincomb %a, %b, %c {coef = [1.0, -2.0, @s]} : f32[T, 5]
  %y = linear %x, @w : f32[T, 9]
  return %x, %y
}

func @six(%a: f32[T, 3], %b: f32[T, 3], %c: f32[T, 3], %d: f32[T, 3], %e: f32[T, 3], %f: f32[T, 3]) -> f32[T, 3] {
  %x = lincomb %a, %b, %c, %d, %e, %f {coef = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]} : f32[T, 3]
  return %x
}

func @members(%a: f32[T, 3, 5]) -> f32[T, 3, 5] {
  %x = silu %a : f32[T, 3, 5]
  return %x
}

func @half(%a: f32[T, 3]) -> f32[T, 3] {
  %x = lincomb %a {coef = [@h]} : f32[T, 3]
  return %x
}

func @cached(%q: f32[T, 8], %k: f32[T, 8], %v: f32[T, 8], %pos: index) -> f32[T, 8] {
  kv_write %k, %v, %pos, @kv
  %y = attention %q, %k, %v, %pos, @kv {heads = 1, kv_heads = 1} : f32[T, 8]
  return %y
}

func @shifted(%x: f32[T, 5], %pos: index) -> f32[T, 5] {
  %y = shift %x, %pos, @row : f32[T, 5]
  row_write %x, %pos, @row
  return %y
}

layer @block(%h: f32[T, 5], %pos: index) -> f32[T, 5] surrogate identity {
  %y = silu %h : f32[T, 5]
  return %y
}

func @chained(%h: f32[T, 5], %pos: index) -> f32[T, 5], f32[T, 5] {
  %y, %mid = chain %h, %pos, [@block(), @block(), @block()] {taps = [1]} : f32[T, 5], f32[T, 5]
  return %y, %mid
}
"""

FILE = SCRATCH / "signatures.snl"
FILE.write_text(IR)
FUNCS = ["no_tensor", "one", "three", "six", "members", "half", "cached", "shifted", "chained"]


def snl_run(func, *options, code=0):
    return run([SNLPC, "run", FILE, func, "--random-weights", "3", *options], code=code)


def write_npy(path, shape, values, kind="f"):
    descr = {"f": "<f4", "i": "<i4"}[kind]
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {tuple(shape)}, }}".encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    pathlib.Path(path).write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text
                                   + raw_numbers(values, kind))


def read_npy(path):
    raw = pathlib.Path(path).read_bytes()
    n, = struct.unpack_from("<H", raw, 8)
    return raw[10:10 + n], numbers(raw[10 + n:])


write_npy(SCRATCH / "a.npy", (2, 3), [1, 2, 3, 4, 5, 6])
write_npy(SCRATCH / "ids.npy", (3,), [6, 0, 6], "i")
write_npy(SCRATCH / "wild.npy", (3,), [6, 70000, 0], "i")
write_npy(SCRATCH / "half_ids.npy", (3,), [1, 2.5, 0])
write_npy(SCRATCH / "bad.npy", (2, 4), [1] * 8)
write_npy(SCRATCH / "long.npy", (3, 3), [1] * 9)


def compiled_equals_evaluated(func):
    for options in (["-t", "1"], ["-t", "1", "--block", "8"], ["-t", "5"], ["-t", "5", "--block", "8"]):
        out = snl_run(func, "--compare", "--repeat", "3", *options).stdout.decode()
        check("FAILED" not in out and "call 2 result 0" in out, out)
    if func in ("three", "chained"):
        check("call 2 result 1" in out, "no second result")


def seeds_and_calls_differ():
    first = snl_run("one", "--eval", "-t", "4").stdout
    check(first == snl_run("one", "--eval", "-t", "4").stdout, "the same seed gives other numbers")
    check(first != snl_run("one", "--eval", "-t", "4", "--seed", "2").stdout, "the seed has no effect")
    a, b = snl_run("six", "--eval", "--repeat", "2").stdout.splitlines()
    check(a != b, "two calls get the same random tensors")


def files_in_and_out():
    for how in ([], ["--eval"], ["--compare"]):
        snl_run("half", *how, "-o", SCRATCH / "out", SCRATCH / "a.npy")
        header, values = read_npy(SCRATCH / "out.0.npy")
        check(b"(2, 3,)" in header or b"(2, 3)" in header, f"shape: {header}")
        check(list(values) == [0.5, 1, 1.5, 2, 2.5, 3], f"{how}: {list(values)}")
        snl_run("one", *how, "-o", SCRATCH / "rows", f"tokens={SCRATCH / 'ids.npy'}")
        _, rows = read_npy(SCRATCH / "rows.0.npy")
        check(list(rows[:5]) == list(rows[10:]) != list(rows[5:10]), "rows of an embedding")


def positions_are_arguments():
    a = snl_run("no_tensor", "--eval", "pos=3").stdout
    check(a == snl_run("no_tensor", "--eval", "3").stdout, "by name and by position differ")
    check(a != snl_run("no_tensor", "--eval", "4").stdout, "the position has no effect")


def formats_are_rounded_on_both_sides():
    for format in ("f32", "bf16", "f16"):
        for t in ("1", "7"):
            snl_run("three", "--compare", "--weights", format, "-t", t)


def pipelines_name_their_formats():
    """The evaluator rounds as the pipeline's own `pack` and `caches` do."""
    for func, formats in ("three", "pack{weights=bf16}"), ("cached", "caches{kv=f16}"):
        passes = f"{formats},shapes{{func={func}}},schedule,plan-memory"
        snl_run(func, "--compare", "--limit", "1e-5", "--pipeline", passes)
        for option in ("--weights", "source"), ("--weights", "q4_0"), ("--weights-head", "q8_0"), ("--kv", "f16"):
            done = snl_run(func, "--pipeline", passes, *option, code=2)
            check(b"--pipeline takes the place of --weights, --weights-head and --kv" in done.stderr, done.stderr)


def errors_beyond_the_limit_fail():
    done = snl_run("three", "--compare", "--limit", "1e-14", code=1)
    check(b"error[E0701]" in done.stderr and b"FAILED" in done.stdout, done.stderr)
    check(b"rounds to" not in done.stderr, done.stderr)
    for options, format_ in ((["three", "--weights", "q8_0"], b"q8_0"), (["three", "--weights", "bf16"], b"bf16"),
                             (["cached", "--kv", "f16"], b"f16")):
        done = snl_run(*options, "--compare", "--limit", "1e-14", "-t", "5", code=1)
        check(b"rounds to " + format_ in done.stderr, done.stderr)


BENCH_ROW = re.compile(r"^ +(\d*) +([\d.]+) +([\d.]+) % +(\S+ \S+) +(\S+ \S+) +([\d.]+) +([\d.]+) +([\d.]+)  (.*)$",
                       re.M)


TIMED = SCRATCH / "timed.snl"
TIMED.write_text("""module @timed
weight @a : f32[640, 320] = source "m" "a"
weight @b : f32[160, 640] = source "m" "b"
func @f(%x: f32[T, 320]) -> f32[T, 160] {
  %u = linear %x, @a : f32[T, 640]
  %y = linear %u, @b : f32[T, 160]
  return %y
}
""")


def timed(*options, code=0, func="f"):
    return run([SNLPC, "run", TIMED, func, "--random-weights", "1", *options], code=code)


def stages_are_timed():
    """Rows of bytes and FLOPs as they follow from the shapes; times are only asked to be there."""
    out = snl_run("six", "--bench").stdout.decode()
    check(out.startswith("@six.decode, T = 1: one thread, medians of "), out)
    rows = BENCH_ROW.findall(out)
    check(rows and rows[-1][0] == "" and rows[-1][-1] == "all", out)
    first, second, whole = BENCH_ROW.findall(timed("--bench").stdout.decode())
    check(first[3:6] == ("800.0 KiB", "0 bytes", "0.410") and first[-1] == "linear 640x320 f32", str(first))
    check(second[3:6] == ("400.0 KiB", "0 bytes", "0.205") and second[-1] == "linear 160x640 f32", str(second))
    check(whole[3:6] == ("1.2 MiB", "0 bytes", "0.614"), str(whole))
    prefill = BENCH_ROW.findall(timed("--bench", "-t", "10").stdout.decode())
    check(prefill[-1][5] == "6.144", str(prefill))
    only = BENCH_ROW.findall(timed("--bench", "--stage", "1").stdout.decode())
    check(len(only) == 1 and only[0][0] == "1" and only[0][-1] == second[-1], str(only))
    for options, message in (("--stage", "1"), b"--stage needs --bench"), (("--bench", "--eval"), b"--bench excludes"), \
            (("--bench", "--compare"), b"--bench excludes"), (("--bench", "--repeat", "1"), b"--bench excludes"), \
            (("--bench", "--limit", "0.1"), b"--bench excludes"), \
            (("--bench", "-o", SCRATCH / "times"), b"--bench excludes"), (("--bench", "--stage", "2"), b"found 2, wanted 0 to 1"), \
            (("--threads", "2"), b"--threads needs --bench"), (("--cold",), b"--cold needs --bench"), \
            (("--last-row",), b"--last-row needs --bench"), \
            (("--bench", "--last-row"), b"--last-row: error[E0501]: '@f.decode' computes every row"), (("--json",), b"--json needs --bench"), \
            (("--bench", "--threads", "0"), b"--threads: found '0', wanted"), \
            (("--bench", "--threads", "two"), b"--threads: found 'two', wanted"):
        check(message in timed(*options, code=2).stderr, str(options))


def timed_json(*options, **more):
    return json.loads(timed("--bench", "--json", *options, **more).stdout)


def stages_are_timed_in_other_ways():
    """As JSON; on several threads; from memory."""
    found = timed_json("-t", "10", "--threads", "2")
    check([found[k] for k in ("function", "T", "pos", "threads", "cold")] == ["f.prefill", 10, 0, 2, False], str(found))
    first, second = found["stages"]
    check(0 < sum(s["us"] for s in found["stages"]) and 0 <= found["waiting_us"] and found["us"] > 0, str(found))
    wanted = {"index": 0, "ops": "linear 640x320 f32", "rows": 10, "weight_bytes": 819200, "cache_bytes": 0,
              "flops": 4096000, "attention_flops": 0, "dot": "f32"}
    check({k: first[k] for k in wanted} == wanted, str(first))
    check((second["rows"], second["flops"]) == (10, 2048000), str(second))
    out = timed("--bench", "--threads", "2", "--cold").stdout.decode()
    check(": 2 threads, medians of " in out and "128 MiB of other memory" in out and "a thread waits " in out, out)
    check(timed_json("--cold")["cold"] is True, "--cold is not told")
    check([s["index"] for s in timed_json("--stage", "1")["stages"]] == [1], "--stage 1")


def units_of_products_are_told():
    for weights, tokens, unit in (("f32", 1, "f32"), ("q8_0", 1, "int8"), ("q4_0", 5, "int8"), ("f16", 5, "f32"),
                                  ("bf16", 1, "f32"), ("bf16", 5, "bf16")):
        stages = timed_json("--weights", weights, "-t", tokens)["stages"]
        found = {s["dot"] for s in stages if s["flops"]}
        check(found == {unit}, f"{weights}, T = {tokens}: {stages}")
    attends = json.loads(snl_run("cached", "--bench", "--json", "-t", "4", "pos=3").stdout)["stages"]
    check(sum(s["attention_flops"] for s in attends) == 4 * 8 * (4 + 5 + 6 + 7), str(attends))
    check({s["dot"] for s in attends if s["flops"] == s["attention_flops"]} == {None}, str(attends))


def scheduled_functions_run_as_they_are():
    """What `compile --emit ir` writes: one function of it, without passes."""
    path = SCRATCH / "scheduled.snl"
    path.write_bytes(run([SNLPC, "compile", DATA / "llama", "--emit", "ir"]).stdout)
    words = [SNLPC, "run", path, "--random-weights", "1"]
    out = run([*words, "forward.decode", "--compare", "--repeat", "3"]).stdout
    check(b"call 2 result 0" in out and b"FAILED" not in out, out)
    run([*words, "forward.prefill", "--compare", "-t", "64"])
    done = run([*words, "forward.decode", "-t", "2"], code=1)
    check(b"is compiled for 1 to 1 tokens, called with 2" in done.stderr, done.stderr)
    rows = BENCH_ROW.findall(run([*words, "forward.decode", "--bench", "pos=20"]).stdout.decode())
    check(len(rows) == 8 and rows[1][4] != "0 bytes", str(rows))
    every, last = (json.loads(run([*words, "forward.prefill", "-t", "20", "--bench", "--json", *more]).stdout)["stages"]
                   for more in ([], ["--last-row"]))
    check([s["rows"] for s in every] == [20] * len(every), str(every))
    check((last[0]["rows"], last[-1]["rows"]) == (20, 1) and last[-1]["flops"] * 20 == every[-1]["flops"], str(last))
    for option in (("--weights", "q4_0"), ("--weights", "source"), ("--weights-head", "q4_0"), ("--kv", "q8_0"),
                   ("--block", "8"), ("--pipeline", "dce"), ("--print-ir-after", "all"), ("--print-ir-before", "all"),
                   ("--dump-dir", SCRATCH / "dumps"), ("--check-each",), ("--timing",)):
        for how in ([], ["--eval"], ["--compare"], ["--bench"]):
            if how == ["--eval"] and option[0] == "--block":
                continue  # refused before the file is opened
            done = run([*words, "forward.decode", *how, *option], code=2)
            check(f"{option[0]}: error[E0501]: '@forward.decode' is scheduled already".encode() in done.stderr,
                  done.stderr)


def bad_calls_are_refused():
    rows = [
        (["nope"], 1, "no function '@nope'"),
        (["block"], 1, "is a layer"),
        (["half", SCRATCH / "bad.npy"], 1, "found shape [2, 4], wanted f32[T, 3] with T = 2"),
        (["half", SCRATCH / "none.npy"], 4, "none.npy"),
        (["half", FILE], 2, "wanted random or a .npy file"),
        (["half", "b=random"], 2, "has no parameter '%b'"),
        (["half", "random", "random"], 2, "takes 1 arguments"),
        (["no_tensor", "-t", "2", "x"], 2, "wanted a position from 0"),
        (["six", SCRATCH / "a.npy", SCRATCH / "long.npy"], 1, "found T = 3, wanted 2"),
        (["half", "--eval", "--compare"], 2, "exclude each other"),
        (["half", "--limit", "0.1"], 2, "--limit needs --compare"),
        (["half", "--eval", "--block", "4"], 2, "--eval compiles nothing: it takes no --block"),
        (["half", "--eval", "--cpu", "native"], 2, "--eval compiles nothing: it takes no --cpu"),
        (["half", "--pipeline", ""], 1, "no function '@half.decode'"),
        (["half", "--pipeline", "shapes{func=half},schedule"], 1, "'@half.decode' is not planned"),
    ]
    for how in [], ["--eval"]:
        rows += [
            (["one", *how, SCRATCH / "half_ids.npy"], 1,
             "argument of '%tokens', element 1: found 2.5, wanted a whole number: it is an i32"),
            (["one", *how, SCRATCH / "wild.npy"], 1, "token id of row 1 out of range: found 70000, wanted 0 to 6"),
            (["cached", *how, "pos=32"], 1, "kv_write:"),
            (["cached", *how, "-t", "3", "pos=30"], 1, "kv_write:"),
            (["cached", *how, "pos=1000000000000"], 1, "kv_write:"),
        ]
    for arguments, code, message in rows:
        done = snl_run(*arguments, code=code)
        check(message.encode() in done.stderr, f"{arguments}: {done.stderr.decode()}")


main([(func, compiled_equals_evaluated, func) for func in FUNCS]
     + [seeds_and_calls_differ, files_in_and_out, positions_are_arguments,
        formats_are_rounded_on_both_sides, pipelines_name_their_formats, stages_are_timed,
        stages_are_timed_in_other_ways, units_of_products_are_told,
        scheduled_functions_run_as_they_are, errors_beyond_the_limit_fail, bad_calls_are_refused])
