#!/usr/bin/env python3
"""Random graphs of every kind of op: compiled code against the evaluator, and as programs: the same bits with
any number of threads. SNL_GRAPHS=FIRST-LAST names the seeds (otherwise a few; with SNL_FULL=1 a few hundred).
"""
import os
import pathlib
import random
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from program import SCRATCH, SNLPC, check, close, compile_model, logits, main, numbers, run  # noqa: E402
from random_graph import Graph  # noqa: E402

# Relative to the largest logit; errors of a deep graph add up.
LIMIT = "3e-5"


def seeds():
    named = os.environ.get("SNL_GRAPHS")
    if named:
        first, _, last = named.partition("-")
        return range(int(first), int(last or first) + 1)
    return range(1, 301) if os.environ.get("SNL_FULL") else range(1, 6)


def graph(seed):
    rng = random.Random(seed)
    made = Graph(seed, n_ops=rng.choice([8, 16, 30, 45]))
    path = SCRATCH / f"{seed}.snl"
    path.write_text(made.text())
    compare = [SNLPC, "run", path, "forward", "--compare", "--verify-each", "--limit", LIMIT]
    run([*compare, "--repeat", "4"])
    run([*compare, "--tokens", "5", "--block", "13", "--repeat", "3"])
    weights = rng.choice(["f32", "bf16", "f16"])
    run([*compare, "--tokens", "13", "--repeat", "3", "--weights", weights])
    # Nothing rewritten.
    run([*compare, "--tokens", "13", "--repeat", "3", "--pipeline",
         f"pack{{weights={weights}}},dce,shapes{{func=forward block=13 tail=false}},schedule,plan-memory"])
    ids = [rng.randrange(made.vocab) for _ in range(31)]
    program = compile_model(path, f"graph-{seed}")
    first = {}
    for block in "1", "5", "64":
        for threads in "1", "2", "3", "5":
            found = logits(program, ids, "-t", threads, "--block", block)
            check(found == first.setdefault(block, found), f"-t {threads} --block {block}: not the bits of -t 1")
    largest = max(map(abs, numbers(first["1"])))
    for block in ("5", "64") if made.same_in_blocks else ():
        close(f"--block {block} and 1", numbers(first[block]), numbers(first["1"]), float(LIMIT) * max(largest, 1))
    program.unlink()
    path.unlink()


main([(f"graph {seed}", graph, seed) for seed in seeds()])
