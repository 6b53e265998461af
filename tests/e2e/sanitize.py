#!/usr/bin/env python3
"""Generated code under the sanitizers: clean as it is, and reported when a fault is planted.

`compile --sanitize address` leaves zones that nothing may touch around every buffer; `--sanitize thread`
sees what two threads do between two barriers. Two planted faults (the pass sabotage) show that the silence
means something: a barrier that is gone, a store one element too far. Both sanitizers also follow threads that take
turns on fibers, which a team of more threads than processors does.
"""
import os
import pathlib
import shutil
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from program import (DATA, MODELS, SCRATCH, SNLPC, Golden, check, compile_model, ids_text,  # noqa: E402
                     main, run, skip)
from random_graph import Graph  # noqa: E402

REPORT = {"address": b"ERROR: AddressSanitizer", "thread": b"WARNING: ThreadSanitizer: data race"}
ENVIRONMENT = os.environ | {"ASAN_OPTIONS": "exitcode=66:detect_leaks=0",
                            "TSAN_OPTIONS": "exitcode=66:" + os.environ.get("TSAN_OPTIONS", "")}
FORMATS = [("f32", "f32"), ("bf16", "f16"), ("q8_0", "q8_0"), ("q4_0", "f16"), ("f16", "q8_0")]
REDZONE = 64
ATTEMPTS = 20


def works_here():
    """A sanitized program needs clang's runtimes to link, and an address space they can live in."""
    for kind in "address", "thread":
        program = SCRATCH / "probe"
        done = run([SNLPC, "compile", DATA / "llama", "-o", program, "-q", "--cpu", "native", "--sanitize", kind],
                   code=None)
        if done.returncode:
            skip(f"programs with a sanitizer do not link here: {done.stderr.decode().strip()}")
        done = run([program, "--help"], code=None)
        if done.returncode:
            skip(f"the {kind} sanitizer does not run here: {done.stderr.decode().strip()}")


def run_all(program, ids, *options, n=6, threads="2", n_cpus=None):
    """Decode and prefill, on the first n_cpus processors; gives the first run that the sanitizer ended, or None."""
    cpus = sorted(os.sched_getaffinity(0))[:n_cpus]
    for block in "1", "7", "64":
        done = subprocess.run([program, "--ids", ids_text(ids), "-n", str(n), "--ignore-eos", "-t", threads, "--block",
                               block, *options], env=ENVIRONMENT, stdin=subprocess.DEVNULL, capture_output=True, timeout=300,
                              preexec_fn=lambda: os.sched_setaffinity(0, cpus))
        if done.returncode != 0:
            return done
    return None


def prompt(model):
    golden = Golden(DATA / model)
    return golden.ids(golden.cases["seq"], "tokens")


def clean(model, kind, *options):
    program = compile_model(DATA / model, f"{model}-{kind}", "--sanitize", kind, *options)
    for threads in ("2", "3"):
        done = run_all(program, prompt(model), threads=threads)
        check(done is None, f"-t {threads}: {done and done.stderr.decode(errors='replace')[:4000]}")
    program.unlink()


def clean_graph(seed, kind):
    path = SCRATCH / f"{seed}.snl"
    path.write_text(Graph(seed, n_ops=25).text())
    weights, kv = FORMATS[seed % len(FORMATS)]
    program = compile_model(path, "graph", "--sanitize", kind, "--weights", weights, "--kv", kv)
    done = run_all(program, [(7 * i + seed) % 37 for i in range(25)], threads="3")
    check(done is None, f"{done and done.stderr.decode(errors='replace')[:4000]}")
    program.unlink()


def pipeline(kind):
    """The usual one, as the compiler prints it, with room around buffers where the sanitizer wants it."""
    text = run([SNLPC, "opt", "--print-pipeline"]).stdout.decode().strip()
    check(text.endswith("plan-memory"), f"the usual pipeline ends otherwise: {text}")
    return text + (f"{{redzone={REDZONE}}}" if kind == "address" else "")


def clean_parts(kind):
    """Attention in parts, and the writer of a cache's row beside their readers."""
    text = pipeline(kind).replace("attention-parts", "attention-parts{context=1 part=16 kv_heads=64}")
    program = compile_model(DATA / "llama", f"parts-{kind}", "--sanitize", kind, "--pipeline", text)
    for threads in "2", "3", "5":
        done = run_all(program, (prompt("llama") * 4)[:70], threads=threads)
        check(done is None, f"-t {threads}: {done and done.stderr.decode(errors='replace')[:4000]}")
    program.unlink()


def clean_turns(kind):
    """More threads than processors: most parts run on fibers, now by one thread, now by another."""
    program = compile_model(DATA / "nanochat-gqa", f"turns-{kind}", "--sanitize", kind)
    for threads, n_cpus in ("2", 1), ("5", 1), ("3", 2), ("8", 2):
        done = run_all(program, prompt("nanochat-gqa"), threads=threads, n_cpus=n_cpus)
        check(done is None, f"-t {threads}, {n_cpus} processors: {done and done.stderr.decode(errors='replace')[:4000]}")
    program.unlink()


def turns_are_one_thread():
    """Where a barrier is gone, three parts on one processor do not race: one thread carries them all."""
    text = f"{pipeline('thread')},sabotage{{kind=barrier at=1}}"
    program = compile_model(DATA / "llama", "sabotaged", "--sanitize", "thread", "--pipeline", text)
    for _ in range(3):
        done = run_all(program, prompt("llama"), n=30, threads="3", n_cpus=1)
        check(done is None, f"{done and done.stderr.decode(errors='replace')[:2000]}")
    program.unlink()


def planted(fault, kind, at, threads="2"):
    text = f"{pipeline(kind)},sabotage{{kind={fault} at={at}}}"
    program = compile_model(DATA / "llama", "sabotaged", "--sanitize", kind, "--pipeline", text)
    # Buffers have room for a block of 64, and a store too far shows at their end: fill it.
    ids = prompt("llama") if fault == "barrier" else (prompt("llama") * 4)[:90]
    # On a busy machine a thread that wakes up late from one barrier is ordered, by the barrier's own lock,
    # behind the other's way into the next: that run hides the race. Another one shows it. A team that is not
    # pinned would even give up processors that others want.
    done = None
    for _ in range(ATTEMPTS):
        done = done or run_all(program, ids, "--pin", n=30, threads=threads, n_cpus=2)
    program.unlink()
    check(done is not None, f"nobody noticed: {text}")
    check(done.returncode == 66 and REPORT[kind] in done.stderr,
          f"ended with {done.returncode} and\n{done.stderr.decode(errors='replace')[:2000]}")


def same_pipeline():
    """Without a fault the spelt-out pipeline is clean too: what is reported above is the fault."""
    for kind in "address", "thread":
        program = compile_model(DATA / "llama", "spelt", "--sanitize", kind, "--pipeline", pipeline(kind))
        done = run_all(program, prompt("llama"))
        check(done is None, f"{kind}: {done and done.stderr.decode(errors='replace')[:2000]}")


works_here()
full = bool(os.environ.get("SNL_FULL"))
models = MODELS if full else ["llama", "nanochat-mhc", "nanochat-gqa"]
stages = range(1, 8) if full else (1, 4)
seeds = range(1, 41) if full else (1, 2, 3)
main([(f"{model}: {kind}", clean, model, kind) for model in models for kind in ("address", "thread")] +
     [(f"{model}, {weights}, kv {kv}: {kind}", clean, model, kind, "--weights", weights, "--kv", kv)
      for model in (models if full else ["qwen2"]) for i, (weights, kv) in enumerate(FORMATS[1:])
      for kind in (("address", "thread") if full else ("address",) if i % 2 else ("thread",))] +
     [(f"random graph {seed}: {kind}", clean_graph, seed, kind) for seed in seeds
      for kind in (("address", "thread") if full else ("thread",))] +
     [same_pipeline] + [(f"attention in parts: {kind}", clean_parts, kind) for kind in ("address", "thread")] +
     [(f"turns: {kind}", clean_turns, kind) for kind in ("address", "thread")] + [turns_are_one_thread] +
     [(f"a barrier removed after stage {at}", planted, "barrier", "thread", at) for at in stages] +
     [("a barrier removed from parts that take turns", planted, "barrier", "thread", 1, "4")] +
     [(f"a store one element too far in stage {at}", planted, "store", "address", at) for at in stages])
