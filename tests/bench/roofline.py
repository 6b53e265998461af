#!/usr/bin/env python3
"""Where the time of a token and of a prompt goes, stage by stage, and what the machine allows there.

For each shape and format: the scheduled IR of our program, timed by `snlpc run --bench`, and the reader and the
dots of bench_limits right after it, as decode (one token) and as prefill (512 tokens). Stages with the same
operations are one row. README.md beside this file says what each figure means.

  roofline.py --snlpc build/snlpc --shape 0.5B --format q8_0,q4_0         tables on standard output
  roofline.py --snlpc build/snlpc --shape deep --format q8_0 --plan "n24 12xF2 K1"
  roofline.py --snlpc build/snlpc --shape 15M --format f32 --update tests/bench/ROOFLINE.md
                                            and into that page, between <!-- 15M f32 --> and <!-- end -->
"""
import argparse
import os
import pathlib
import re
import statistics
import sys

try:
    from bench import DEFAULT_SHAPES, FORMATS, PAGES, Machine, check, level_of, words_of
    from contestants import N_PREFILL, Problem, StageClock
    from shapes import HEAD_OF, SHAPES
except ImportError as error:
    sys.exit(f"roofline.py: {error}: wanted a Python 3 with numpy (Debian: python3-numpy, /usr/bin/python3)")

UNITS = ("f32", "bf16", "int8")
HEAD = ("stages", "count", "MB", "MFLOP", "us", "limit us", "by", "of limit", "share", "waiting")


# ---- what the machine allows -------------------------------------------------------------------------------

class Limits:
    """Bandwidth in GB/s and rates in G/s: means of the samples."""

    def __init__(self, samples, level):
        self.level = level
        self.bandwidth = statistics.mean(s["read"] for s in samples)
        self.rates = {unit: statistics.mean(rates) for unit in UNITS if None not in
                      (rates := [s[unit] for s in samples])}

    def rate(self, unit):
        """A unit that the processor lacks is made of f32 multiply-adds. Of None, without products, it does not
        matter."""
        return self.rates.get(unit, self.rates["f32"])

    def microseconds(self, stage):
        """(least time, what sets it). Products of matrices and of attention share the units that multiply."""
        memory = (stage["weight_bytes"] + stage["cache_bytes"]) / self.bandwidth * 1e-3
        matrices = (stage["flops"] - stage["attention_flops"]) / self.rate(stage["dot"]) * 1e-3
        attention = stage["attention_flops"] / self.rate("f32") * 1e-3
        if memory >= matrices + attention:
            return memory, self.level
        return matrices + attention, stage["dot"] if matrices >= attention else "f32"


def samples(machine, nbytes, threads):
    """Two, so that what the machine does for a moment is not all there is."""
    return [{"read": machine.read(nbytes, threads), **{unit: machine.dots(unit, threads) for unit in UNITS}}
            for _ in range(2)]


# ---- stages to rows ----------------------------------------------------------------------------------------

LAST = "last token alone"


def rows_of(stages, limits, calls):
    """Stages of equal operations together, in the order in which they first come, and a row for all of them.
    `calls` of the function make the whole; what is computed for the last of many tokens is done once."""
    rows, tokens = {}, max(stage["rows"] for stage in stages)
    for stage in stages:
        name, times = (stage["ops"], calls) if stage["rows"] == tokens else (LAST, 1)
        row = rows.setdefault(name, dict(ops=name, count=0, mb=0, mflop=0, us=0, limit=0, waiting=0, by=""))
        limit, by = limits.microseconds(stage)
        row["count"] += times
        row["mb"] += times * (stage["weight_bytes"] + stage["cache_bytes"]) * 1e-6
        row["mflop"] += times * stage["flops"] * 1e-6
        row["us"] += times * stage["us"]
        row["limit"] += times * limit
        row["waiting"] += times * stage["waiting_us"]
        row["by"] = by if limit > 0 else ""
    whole = dict(ops="all", by="")
    for key in ("count", "mb", "mflop", "us", "limit", "waiting"):
        whole[key] = sum(row[key] for row in rows.values())
    return [*rows.values(), whole]


def percent(part, whole):
    return f"{100 * part / whole:.1f} %" if whole > 0 else ""


def table_of(rows):
    whole = rows[-1]
    lines = [HEAD, ["---"] * len(HEAD)]
    for row in rows:
        limited = row["limit"] > 0
        lines.append([row["ops"], str(row["count"]), f"{row['mb']:.2f}", f"{row['mflop']:.1f}", f"{row['us']:.1f}",
                      f"{row['limit']:.1f}" if limited else "", row["by"],
                      percent(row["limit"], row["us"]) if limited else "", percent(row["us"], whole["us"]),
                      percent(row["waiting"], row["us"])])
    return ["| " + " | ".join(line) + " |" for line in lines]


# ---- measuring ---------------------------------------------------------------------------------------------

class Form:
    """A scheduled function, and how often it is called: decode for a token, prefill for a prompt."""

    def __init__(self, name, clock, shape, pos):
        self.name, self.clock = name, clock
        self.tokens, self.calls, self.options = 1, 1, [f"pos={pos}"]
        self.text = f"decode at position {pos}"
        if name == "prefill":
            n = min(N_PREFILL, shape.context)
            self.tokens = min(clock.block, n)
            self.calls = n // self.tokens
            middle = (self.calls - 1) * self.tokens // 2  # where attention sees as much as it does in the mean
            self.options = ["--tokens", self.tokens, "--last-row", f"pos={middle}"]
            self.text = f"prefill of {self.calls * self.tokens} tokens in blocks of {self.tokens}"

    def measure(self, machine, nbytes, level, args):
        """The rows of the round whose fraction of the limit is the middle one, and all fractions."""
        found, cold = [], ["--cold"] if args.cold else []
        for _ in range(args.rounds):
            stages = self.clock.run(self.name, args.threads, *self.options, *cold)["stages"]
            limits = Limits(samples(machine, nbytes, args.threads), level)
            rows = rows_of(stages, limits, self.calls)
            found.append((rows[-1]["limit"] / rows[-1]["us"], limits, rows))
        found.sort(key=lambda one: one[0])
        return found[len(found) // 2][1:], [one[0] for one in found]


def heading(args, form, limits, fractions, whole):
    rates = ", ".join(f"{unit} {rate:.0f}" for unit, rate in limits.rates.items())
    speed = form.calls * form.tokens / whole["us"] * 1e6
    spread = (f"{100 * fractions[0]:.0f} to {100 * fractions[-1]:.0f} % of the limit in {len(fractions)} rounds, "
              "the middle one here")
    return [f"**{form.text}**, {args.threads} thread{'s' if args.threads > 1 else ''}{', cold' if args.cold else ''}: "
            f"{speed:.0f} tokens/s; {spread}. Reader {limits.bandwidth:.1f} GB/s ({limits.level}), "
            f"G/s: {rates}; load {os.getloadavg()[0]:.1f}.", ""]


def measure_cell(args, machine, shape, kind):
    """The lines of one shape and format: decode, then prefill."""
    clock = StageClock(args, shape, kind, args.plan)
    clock.prepare(args.work)
    nbytes = shape.weight_bytes(kind, HEAD_OF.get(kind, kind))
    level = "DRAM" if args.cold else level_of(nbytes, args.threads)
    lines = []
    for name in "decode", "prefill":
        form = Form(name, clock, shape, min(args.pos, shape.context - 1))
        (limits, rows), fractions = form.measure(machine, nbytes, level, args)
        lines += [*heading(args, form, limits, fractions, rows[-1]), *table_of(rows), ""]
    return lines


# ---- the page ----------------------------------------------------------------------------------------------

def replace_section(text, cell, lines):
    """`text` with what stands between <!-- CELL --> and the next <!-- end --> made new; None: no such place."""
    pattern = re.compile(rf"(<!-- {re.escape(cell)} -->\n).*?(<!-- end -->)", re.S)
    new, n = pattern.subn(lambda found: found[1] + "\n".join(lines) + "\n" + found[2], text)
    return new if n == 1 else None


def update(path, cell, lines):
    text = replace_section(path.read_text(), cell, lines)
    if text is None:
        raise Problem(f"--update {path}: found no place for {cell}, wanted <!-- {cell} --> and <!-- end --> once")
    path.write_text(text)


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--snlpc", help="the compiler, build/snlpc")
    parser.add_argument("--shape", default=DEFAULT_SHAPES, metavar="NAMES", help=f"of {', '.join(SHAPES)}")
    parser.add_argument("--format", default=",".join(FORMATS), metavar="NAMES", help=f"of {', '.join(FORMATS)}")
    parser.add_argument("--threads", type=int, default=2, metavar="N")
    parser.add_argument("--pos", type=int, default=68, metavar="N",
                        help="position of the decoded token (default 68, the middle of what bench.py decodes)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--plan", help="with this plan instead of the sequential program")
    parser.add_argument("--cold", action="store_true", help="nothing is in caches when a call begins")
    parser.add_argument("--compile-options", default="", metavar="TEXT", help="more options of snlpc compile")
    parser.add_argument("--pages", default="faster", choices=PAGES, help="of the memory reader (faster: both are tried)")
    parser.add_argument("--limits", help="bench_limits (default: tests/bench_limits beside the compiler)")
    parser.add_argument("--work", default="/tmp/snlpc-bench", metavar="DIR", help="models stay here")
    parser.add_argument("--update", metavar="FILE", type=pathlib.Path, help="write the tables into this page too")
    return parser.parse_args()


def main():
    args = parse()
    check(args)
    for option, found, least in ("--threads", args.threads, 1), ("--pos", args.pos, 0):
        if found < least:
            raise Problem(f"{option}: found {found}, wanted {least} or more")
    if args.update and not args.update.is_file():
        raise Problem(f"--update: found no file {args.update}")
    machine = Machine(args)
    for shape in words_of("--shape", args.shape, SHAPES):
        for kind in words_of("--format", args.format, FORMATS):
            cell = f"{shape} {kind}" + (f" {args.plan}" if args.plan else "")
            lines = measure_cell(args, machine, SHAPES[shape], kind)
            print(f"## {cell}\n\n" + "\n".join(lines), flush=True)
            if args.update:
                update(args.update, cell, lines)


if __name__ == "__main__":
    try:
        main()
    except Problem as problem:
        sys.exit(f"roofline.py: {problem}")
