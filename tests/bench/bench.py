#!/usr/bin/env python3
"""Decode and prefill of compiled programs beside the machine's limits and beside peers.

One round runs every contestant once, in turn, with the memory reader before and after, so that a noisy
neighbour meets all of them; what is reported are medians over rounds, and of ratios within rounds.
README.md beside this file says what each figure means.

  bench.py --snlpc build/snlpc                                all shapes, formats, thread counts
  bench.py --snlpc build/snlpc --shape 15M --format q8_0,q4_0 --threads 2 --rounds 7 \\
           --peer-llama-bench "ik=/opt/ik/llama-bench -rtr 1" --peer-llama-bench cpp=/opt/llama/llama-bench
  bench.py ... --threads 1,2,auto                             does it choose as well as we can?
  bench.py ... --log rounds.jsonl                             also keeps the rounds; several runs may append
  bench.py --report rounds.jsonl                              figures of all the rounds kept
"""
import argparse
import contextlib
import json
import os
import pathlib
import subprocess
import sys

try:
    import report
    from contestants import Problem, contestants, run
    from shapes import HEAD_OF, SHAPES
except ImportError as error:
    sys.exit(f"bench.py: {error}: wanted a Python 3 with numpy (Debian: python3-numpy, /usr/bin/python3)")

DEFAULT_SHAPES = "260K,15M,110M,0.5B"
FORMATS = ("f32", "bf16", "q8_0", "q4_0")
ROUND_KEYS = ("shape", "format", "head", "threads", "reader_bytes", "pages", "level", "dot_unit", "load", "reader",
              "dots", "found")
PAGES = {"4k": ("4k",), "huge": ("huge",), "faster": ("4k", "huge")}
DOT_UNIT = {"f32": "f32", "bf16": "bf16", "q8_0": "int8", "q4_0": "int8"}


class Machine:
    """The limits, measured by a program of our own."""

    def __init__(self, args):
        self.limits, self.pages = args.limits, PAGES[args.pages]

    def read(self, nbytes, threads):
        """GB/s in the kind of pages that is faster at this moment."""
        return max(float(run([self.limits, "read", int(nbytes), threads, "0.15", kind]).stdout) for kind in self.pages)

    def dots(self, unit, threads):
        text = run([self.limits, unit, threads, "0.05"]).stdout.strip()
        return None if text == "none" else float(text)

    @staticmethod
    def cache_bytes(level):
        try:
            text = pathlib.Path(f"/sys/devices/system/cpu/cpu0/cache/index{level}/size").read_text().strip()
        except OSError:
            return 0
        return int(text.rstrip("KM")) << {"K": 10, "M": 20}.get(text[-1], 0)


def level_of(nbytes, threads):
    """Where that many bytes, read again and again, live."""
    if nbytes <= threads * Machine.cache_bytes(2):
        return "L2"
    return "L3" if nbytes <= Machine.cache_bytes(3) else "DRAM"


BUSY = "import os, sys\nwhile os.getppid() == int(sys.argv[1]):\n    for _ in range(100000): pass"


@contextlib.contextmanager
def busy(n):
    """n processes that use a processor each, until the end of the block or of this process."""
    neighbours = []
    try:
        for _ in range(n):
            neighbours.append(subprocess.Popen([sys.executable, "-c", BUSY, str(os.getpid())]))
        yield neighbours
    finally:
        for neighbour in neighbours:
            neighbour.kill()
            neighbour.wait()


def one_round(machine, entrants, cell, before):
    found = {c.name: c.bench(cell["threads"]) for c in entrants}
    after = machine.read(cell["reader_bytes"], cell["reader_threads"])
    return {**cell, "load": os.getloadavg()[0], "reader": [before, after],
            "dots": machine.dots(cell["dot_unit"], cell["reader_threads"]), "found": found}


def measure_cell(args, machine, shape, kind, threads):
    counts = thread_counts(args.threads)
    entrants, reasons = contestants(args, shape, kind, [n for n in counts if n != "auto"] if threads == "auto" else [])
    for reason in reasons:
        print(f"{shape.name} {kind}: without {reason}")
    for entrant in entrants:
        entrant.prepare(args.work)
    if args.prepare:
        return []
    head = HEAD_OF.get(kind, kind)
    nbytes = shape.weight_bytes(kind, head)
    reader_threads = len(os.sched_getaffinity(0)) if threads == "auto" else threads
    level = level_of(nbytes, reader_threads)
    cell = {"shape": shape.name, "format": kind, "head": head, "threads": threads, "reader_bytes": nbytes,
            "reader_threads": reader_threads, "pages": args.pages, "level": level, "dot_unit": DOT_UNIT[kind],
            "busy": args.busy, "l3_floor": args.l3_threshold if level == "L3" and reader_threads > 1 else None}
    with busy(args.busy):
        rounds = measure_rounds(args, machine, entrants, cell)
    report.print_cell(rounds)
    return rounds


def measure_rounds(args, machine, entrants, cell):
    rounds, before = [], machine.read(cell["reader_bytes"], cell["reader_threads"])
    for _ in range(args.rounds):
        rounds.append(one_round(machine, entrants, cell, before))
        before = rounds[-1]["reader"][1]
        if args.log:
            with open(args.log, "a") as file:
                file.write(json.dumps(rounds[-1]) + "\n")
    return rounds


def read_log(path):
    try:
        with open(path) as file:
            rounds = [json.loads(line) for line in file]
    except (OSError, ValueError) as error:
        raise Problem(f"--report {path}: {error}; wanted what --log has written") from error
    for i, r in enumerate(rounds):
        missing = [key for key in ROUND_KEYS if not isinstance(r, dict) or key not in r]
        if missing:
            raise Problem(f"--report {path}:{i + 1}: no {missing[0]!r} found; wanted what --log has written")
    return rounds


def words_of(option, text, known):
    words = text.split(",")
    for word in words:
        if word not in known:
            raise Problem(f"{option}: found {word!r}, wanted some of {', '.join(known)}, with commas between")
    return words


def thread_counts(text):
    try:
        counts = [word if word == "auto" else int(word) for word in text.split(",")]
    except ValueError:
        counts = [0]
    if min((n for n in counts if n != "auto"), default=1) < 1:
        raise Problem(f"--threads: found {text!r}, wanted numbers of 1 or more or auto, with commas between")
    return counts


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--snlpc", help="the compiler, build/snlpc")
    parser.add_argument("--shape", default=DEFAULT_SHAPES, metavar="NAMES", help=f"of {', '.join(SHAPES)}")
    parser.add_argument("--format", default=",".join(FORMATS), metavar="NAMES", help=f"of {', '.join(FORMATS)}")
    parser.add_argument("--threads", default="1,2", metavar="COUNTS",
                        help="auto: what each program chooses; ours beside it with each count of the list")
    parser.add_argument("--busy", type=int, default=0, metavar="N", help="beside N processes that never rest")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--plan", action="append", default=[], help="our program with this plan too (repeatable)")
    parser.add_argument("--program-options", action="append", default=[], metavar="TEXT",
                        help="our program run with these options too, as in --program-options=--huge-pages (repeatable)")
    parser.add_argument("--compile-options", default="", metavar="TEXT", help="more options of snlpc compile")
    parser.add_argument("--peer-llama-bench", action="append", default=[], metavar="[NAME=]PROGRAM",
                        help="a llama-bench, and options for it (repeatable)")
    parser.add_argument("--peer-llama2c", action="append", default=[], metavar="[NAME=]PROGRAM",
                        help="llama2.c's run (repeatable)")
    parser.add_argument("--pages", default="faster", choices=PAGES, help="of the memory reader (faster: both are tried)")
    parser.add_argument("--l3-threshold", type=float, default=150, metavar="GB/S",
                        help="rounds of cells that live in L3 count from here (more than one thread)")
    parser.add_argument("--limits", help="bench_limits (default: tests/bench_limits beside the compiler)")
    parser.add_argument("--work", default="/tmp/snlpc-bench", metavar="DIR", help="models and programs stay here")
    parser.add_argument("--log", metavar="FILE", help="append the rounds to FILE")
    parser.add_argument("--prepare", action="store_true", help="only write the models and compile")
    parser.add_argument("--report", metavar="FILE", help="measure nothing: figures of the rounds in FILE")
    return parser.parse_args()


def check(args):
    """What this program and roofline.py have in common."""
    if args.rounds < 1:
        raise Problem(f"--rounds: found {args.rounds}, wanted 1 or more")
    if not args.snlpc or not os.access(args.snlpc, os.X_OK):
        raise Problem(f"--snlpc: found {args.snlpc or 'nothing'}, wanted the compiler (build/snlpc)")
    args.limits = args.limits or pathlib.Path(args.snlpc).parent / "tests" / "bench_limits"
    if not os.access(args.limits, os.X_OK):
        raise Problem(f"--limits: found no program {args.limits}, wanted bench_limits: make it with "
                      f"cmake --build {pathlib.Path(args.snlpc).parent}")


def main():
    args = parse()
    if args.report:
        cells = report.cells_of(read_log(args.report))
        for rounds in cells:
            report.print_cell(rounds)
    else:
        check(args)
        if args.busy < 0:
            raise Problem(f"--busy: found {args.busy}, wanted 0 or more")
        machine = Machine(args)
        cells = [measure_cell(args, machine, SHAPES[shape], kind, threads)
                 for shape in words_of("--shape", args.shape, SHAPES)
                 for kind in words_of("--format", args.format, FORMATS)
                 for threads in thread_counts(args.threads)]
    if any(cells):
        print()
        report.print_summary(cells)


if __name__ == "__main__":
    try:
        main()
    except Problem as problem:
        sys.exit(f"bench.py: {problem}")
