#!/usr/bin/env python3
"""Decode and prefill of compiled programs beside a peer, interleaved: medians, spreads and ratios.

usage: bench.py --snlpc BUILD/snlpc [--shape 15M] [--rounds 7] [--threads 1,2] [--weights f32]
                [--plan PLAN ...] [--peer-llama2c PATH] [--work DIR]

One round runs every contestant once, in turn, so that a noisy neighbour meets all of them. Ratios are
medians over the rounds of (ours / peer) within a round. `--plan` adds our own program with that plan as
one more contestant; its ratio is against our sequential program.
"""
import argparse
import os
import re
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
PYTHON = "/usr/bin/python3"  # Debian's, which has Debian's numpy


def run(argv, **more):
    return subprocess.run(argv, check=True, capture_output=True, text=True, **more)


def bench_ours(program, threads):
    text = run([program, "--bench", "-t", str(threads)]).stdout
    found = dict(re.findall(r"^(decode|prefill) ([0-9.]+) tokens/s$", text, re.M))
    return {k: float(v) for k, v in found.items()}


def bench_llama2c(binary, model, threads):
    env = dict(os.environ, OMP_NUM_THREADS=str(threads))
    argv = [binary, os.path.join(model, "llama2c.bin"), "-z", os.path.join(model, "tok.bin"),
            "-t", "0", "-n", "129"]
    text = run(argv, env=env, errors="replace").stderr
    return {"decode": float(re.search(r"tok/s: ([0-9.]+)", text).group(1))}


def build(args, model):
    """Contestants: name -> function(threads) -> {"decode": tokens/s, ...}."""
    out = {}

    def compile_program(name, *options):
        program = os.path.join(args.work, f"{args.shape}-{len(out)}")
        run([args.snlpc, "compile", os.path.join(model, "hf"), "-o", program, "--cpu", "native",
             "--weights", args.weights, *options])
        out[name] = lambda threads: bench_ours(program, threads)

    compile_program("snlpc seq")
    for plan in args.plan:
        compile_program(f"snlpc {plan}", "--plan", plan)
    if args.peer_llama2c:
        out["llama2.c"] = lambda threads: bench_llama2c(args.peer_llama2c, model, threads)
    return out


def spread(values):
    low, high = min(values), max(values)
    return f"{statistics.median(values):10.1f}  [{low:.1f} .. {high:.1f}]"


def report(rounds, base, threads):
    first = next(iter(rounds[0]))
    for name in rounds[0]:
        for what in rounds[0][name]:
            print(f"{threads}T {what:8} {name:24} {spread([r[name][what] for r in rounds])}")
    for name in rounds[0]:
        if name == first:
            continue
        for what in rounds[0][name]:
            ours, peer = (name, first) if name.startswith("snlpc") else (first, name)
            ratio = [r[ours][what] / r[peer][what] for r in rounds]
            print(f"{threads}T {what:8} {ours} / {peer}: {statistics.median(ratio):.2f}x "
                  f"[{min(ratio):.2f} .. {max(ratio):.2f}]")
    ratio = [r[first]["prefill"] / r[first]["decode"] for r in rounds]
    print(f"{threads}T {first}: prefill / decode {statistics.median(ratio):.1f}x")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--snlpc", required=True)
    parser.add_argument("--shape", default="15M")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--weights", default="f32")
    parser.add_argument("--plan", action="append", default=[])
    parser.add_argument("--peer-llama2c")
    parser.add_argument("--work", default="/tmp/snlpc-bench")
    args = parser.parse_args()
    os.makedirs(args.work, exist_ok=True)
    model = os.path.join(args.work, args.shape)
    if not os.path.exists(os.path.join(model, "llama2c.bin")):
        run([PYTHON, os.path.join(HERE, "make_models.py"), args.shape, args.work])
    contestants = build(args, model)
    print(f"shape {args.shape}, weights {args.weights}, {args.rounds} rounds, "
          f"load {os.getloadavg()[0]:.2f}")
    for threads in map(int, args.threads.split(",")):
        rounds = [{name: f(threads) for name, f in contestants.items()} for _ in range(args.rounds)]
        report(rounds, "snlpc seq", threads)


if __name__ == "__main__":
    sys.exit(main())
