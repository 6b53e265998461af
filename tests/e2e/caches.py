#!/usr/bin/env python3
"""--kv: what a format of the caches changes (sizes, numbers within a bound) and what it does not: how a
text is cut into blocks, how many threads there are, what the processor is; kernels on long contexts."""
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from program import (DATA, EXAMPLE, SCRATCH, SNLPC, SOURCE, check, close, compile_model,  # noqa: E402
                     levels_here, logits, main, numbers, run)

FORMATS = ["f32", "f16", "q8_0"]
TEXT = (SOURCE / "README.md").read_bytes()
IDS = [byte % 64 for byte in TEXT[:120]]


def about(program):
    return json.loads(run([program, "--about", "--json"]).stdout)


def compare(found, wanted):
    """Mean square of the error over that of the numbers."""
    return sum((a - b) ** 2 for a, b in zip(found, wanted)) / sum(b * b for b in wanted)


def caches_shrink_and_say_so():
    bytes_of = {}
    for kv in FORMATS:
        mode = about(compile_model(EXAMPLE, f"size-{kv}", "--weights", "f32", "--kv", kv))["modes"][0]
        bytes_of[kv] = mode["state_bytes"]
        note = f"rounds(kv={kv})"
        check((note in mode["exactness"]) == (kv != "f32"), f"{kv}: {mode['exactness']}")
    check(bytes_of["f16"] < 0.51 * bytes_of["f32"], f"{bytes_of}")
    check(bytes_of["q8_0"] < 0.28 * bytes_of["f32"], f"{bytes_of}")


def narrow_weights_have_narrow_caches():
    for weights, kv in (("f32", None), ("bf16", "kv=f16"), ("q8_0", "kv=f16")):
        exactness = about(compile_model(EXAMPLE, f"auto-{weights}", "--weights", weights))["modes"][0]["exactness"]
        check(kv in exactness if kv else "kv=" not in exactness, f"{weights}: {exactness}")
    exactness = about(compile_model(EXAMPLE, "wide", "--weights", "bf16", "--kv", "f32"))["modes"][0]["exactness"]
    check("kv=" not in exactness, exactness)


def formats_change_little():
    wanted = numbers(logits(compile_model(EXAMPLE, "exact", "--weights", "f32", "--kv", "f32"), IDS))
    notes = []
    for kv, limit in (("f16", 1e-7), ("q8_0", 1e-4)):
        program = compile_model(EXAMPLE, f"near-{kv}", "--weights", "f32", "--kv", kv)
        error = compare(numbers(logits(program, IDS)), wanted)
        check(error < limit, f"{kv}: error {error:.2g} of the square, limit {limit}")
        notes.append(f"{kv} {error:.1g}")
    return ", ".join(notes)


def splits_and_threads_do_not_show(model, kv, options):
    """The rounding is the same however a text is cut, but what is rounded is a sum whose order is not: where
    it lies between two numbers of a narrow format, the last bit of the sum decides. So f32 is held to the
    largest error, the others to the mean square, far below the error of the format itself."""
    program = compile_model(model, f"splits-{kv}", "--kv", kv, "--weights", "f32", *options)
    raw = logits(program, IDS[:100], "-t", "1")
    wanted = numbers(raw)
    check(raw == logits(program, IDS[:100], "-t", "2"), f"{kv}: 2 threads give other bytes")
    check(raw == logits(program, IDS[:100], "-t", "3"), f"{kv}: 3 threads give other bytes")
    worst = 0.0
    for block in ("1", "3", "17", "33"):
        again = logits(program, IDS[:100], "--block", block, "-t", "2")
        check(again == logits(program, IDS[:100], "--block", block, "-t", "1"), f"block {block}: threads show")
        if kv == "f32":
            close(f"block {block}", numbers(again), wanted, 1e-5 * max(map(abs, wanted)))
        worst = max(worst, compare(numbers(again), wanted))
    limit = {"f32": 1e-11, "f16": 1e-9, "q8_0": 1e-7}[kv]
    check(worst <= limit, f"{kv}: error {worst:.2g} of the square, limit {limit}")
    return f"within {worst:.1g} of the square"


def levels_agree():
    program = compile_model(DATA / "llama", "levels", "--kv", "f16", "--weights", "f32", levels=True)
    ids = [i % 32 for i in IDS[:40]]
    wanted = numbers(logits(program, ids))
    for level in levels_here(program):
        close(level, numbers(logits(program, ids, level=level)), wanted, 1e-4 * max(map(abs, wanted)))


LONG = """module @long
state @kv : f32[2, 2, 700, 24]
func @all(%q: f32[T, 96], %k: f32[T, 48], %v: f32[T, 48], %pos: index) -> f32[T, 96] {
  kv_write %k, %v, %pos, @kv
  %y = attention %q, %k, %v, %pos, @kv {heads = 4, kv_heads = 2} : f32[T, 96]
  return %y
}
func @window(%q: f32[T, 96], %k: f32[T, 48], %v: f32[T, 48], %pos: index) -> f32[T, 96] {
  %y = attention %q, %k, %v, %pos, @kv {heads = 4, kv_heads = 2, window = 190} : f32[T, 96]
  kv_write %k, %v, %pos, @kv
  return %y
}
"""
(SCRATCH / "long.snl").write_text(LONG)


def long_contexts(func, kv):
    for tokens, calls, more in ((135, 5, []), (1, 300, []), (1, 140, ["--block", "8"])):
        run([SNLPC, "run", SCRATCH / "long.snl", func, "--compare", "--limit", "2e-6", "--kv", kv, "-t", tokens,
             "--repeat", calls, *more], timeout=300)


PARTS = """module @parts
state @a : KV[2, 1, 100, 24]
state @b : KV[2, 1, 100, 24]
state @c : KV[2, 2, 96, 8]
func @whole(%q: f32[T, 120], %k: f32[T, 24], %v: f32[T, 24], %pos: index) -> f32[T, 120], f32[T, 120] {
  kv_write %k, %v, %pos, @a
  %y = attention %q, %k, %v, %pos, @a {heads = 5, kv_heads = 1} : f32[T, 120]
  %z = attention %q, %k, %v, %pos, @a {heads = 5, kv_heads = 1, scale = 0.3, window = 40} : f32[T, 120]
  return %y, %z
}
func @members(%q: f32[T, 2, 72], %k: f32[T, 2, 24], %v: f32[T, 2, 24], %pos: index) -> f32[T, 2, 72] {
  kv_write %k, %v, %pos, [@a, @b]
  %y = attention %q, %k, %v, %pos, [@a, @b] {heads = 3, kv_heads = 1, window = [20, 90]} : f32[T, 2, 72]
  return %y
}
func @unwritten(%q: f32[T, 32], %k: f32[T, 16], %v: f32[T, 16], %pos: index) -> f32[T, 32] {
  %y = attention %q, %k, %v, %pos, @c {heads = 4, kv_heads = 2, window = 50} : f32[T, 32]
  kv_write %v, %k, %pos, @c
  return %y
}
"""


def parts_are_attention(func, kv):
    """Every position of a context: the first, both sides of each part's end, the last."""
    path = SCRATCH / f"parts-{kv}.snl"
    path.write_text(PARTS.replace("KV", kv))
    for part in 16, 32, 96:
        passes = f"shapes{{func={func}}},attention-parts{{context=1 part={part}}},schedule,plan-memory"
        run([SNLPC, "run", path, func, "--compare", "--limit", "2e-6", "-t", "1", "--repeat", 96,
             "--pipeline", passes])


def parts_do_not_show(model, kv):
    """Which thread takes which parts, and that prefill has none."""
    passes = run([SNLPC, "opt", "--print-pipeline"]).stdout.decode().strip()
    passes = passes.replace("dce,shapes", f"caches{{kv={kv}}},dce,shapes")
    passes = passes.replace("attention-parts", "attention-parts{context=1 part=16 kv_heads=64}")
    program = compile_model(model, f"parts-{kv}", "--pipeline", passes)
    whole = compile_model(model, f"whole-{kv}", "--pipeline", passes.replace("kv_heads=64", "kv_heads=0"))
    ids = [i % 32 for i in IDS[:60]]
    raw = logits(program, ids, "--block", "1", "-t", "1")
    wanted = numbers(raw)
    for threads in "2", "3", "5":
        check(raw == logits(program, ids, "--block", "1", "-t", threads), f"{threads} threads give other bytes")
    limit = {"f32": 1e-5, "f16": 1e-3, "q8_0": 3e-2}[kv] * max(map(abs, wanted))
    close("blocks of 16", numbers(logits(program, ids, "--block", "16")), wanted, limit)
    close("without parts", numbers(logits(whole, ids, "--block", "1")), wanted, limit)


def bad_formats_are_refused():
    for command in (["compile", EXAMPLE, "-o", SCRATCH / "no"], ["run", SCRATCH / "long.snl", "all"]):
        done = run([SNLPC, *command, "--kv", "q4_0"], code=2)
        check(b"--kv: found 'q4_0', wanted auto, f32, f16 or q8_0" in done.stderr, done.stderr)
    done = run([SNLPC, "compile", EXAMPLE, "-o", SCRATCH / "no", "--kv", "q8_0", "--max-state", "4K"], code=1)
    check(b"--max-state" in done.stderr, done.stderr)


PLAN = ["--plan", "n12 K1 h0"]
SPLITS = [(f"splits {kv}{' plan' if options else ''}", splits_and_threads_do_not_show, EXAMPLE, kv, options)
          for kv in FORMATS for options in ([], PLAN)]
main([caches_shrink_and_say_so, narrow_weights_have_narrow_caches, formats_change_little] + SPLITS
     + [levels_agree] + [(f"long {func} {kv}", long_contexts, func, kv) for func in ("all", "window")
                         for kv in FORMATS]
     + [(f"parts {func} {kv}", parts_are_attention, func, kv) for func in ("whole", "members", "unwritten")
        for kv in FORMATS]
     + [(f"parts of a model {kv}", parts_do_not_show, DATA / "llama", kv) for kv in FORMATS]
     + [bad_formats_are_refused])
