#!/usr/bin/env python3
"""From exec to the first byte: how long a program takes to say its first word, and where the time goes.

usage: start_time.py PROGRAM [--ids "1 2 3 4 5 6 7 8" | --prompt TEXT] [--runs 21] [--threads N] [--cold]

The program runs with standard output on a pipe, page cache warm (--cold: its file is dropped from the cache
before each run, where the system lets us). Medians, in milliseconds from just before the program is started;
page faults of the whole run. Rows: only the help (exec), with the tokenizer, the prompt, a prompt of one token.
"""
import argparse
import os
import statistics
import sys
import time


def measure(argv):
    """Milliseconds until the first byte and until the end, minor and major page faults."""
    read, write = os.pipe()
    null = os.open(os.devnull, os.O_RDWR)
    begin = time.perf_counter()
    actions = [(os.POSIX_SPAWN_DUP2, null, 0), (os.POSIX_SPAWN_DUP2, write, 1),
               (os.POSIX_SPAWN_DUP2, null, 2)]
    pid = os.posix_spawn(argv[0], argv, os.environ, file_actions=actions)
    os.close(write)
    first = os.read(read, 1)
    at_first = time.perf_counter()
    while os.read(read, 1 << 16):
        pass
    _, status, usage = os.wait4(pid, 0)
    at_end = time.perf_counter()
    os.close(read)
    os.close(null)
    if status or not first:
        sys.exit(f"{' '.join(argv)}: failed or wrote nothing (status {status})")
    return (1e3 * (at_first - begin), 1e3 * (at_end - begin), usage.ru_minflt, usage.ru_majflt)


def drop_from_cache(path):
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(fd)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--ids", default="1 2 3 4 5 6 7 8")
    parser.add_argument("--prompt")
    parser.add_argument("--runs", type=int, default=21)
    parser.add_argument("--threads")
    parser.add_argument("--cold", action="store_true")
    args = parser.parse_args()
    program = os.path.abspath(args.program)
    prompt = ["-p", args.prompt] if args.prompt else ["--ids", args.ids]
    threads = ["-t", args.threads] if args.threads else []
    rows = {"--help": ["--help"], "--about (tokenizer opened)": ["--about"],
            "prompt, first token": [*prompt, "-n", "1", *threads],
            "one token, first token": ["--ids", "1", "-n", "1", *threads]}
    print(f"{'':28} {'first byte':>10} {'[min .. max]':>18} {'end':>8} {'faults':>8} {'major':>6}")
    results = {name: [] for name in rows}
    for _ in range(args.runs):  # interleaved: noise meets all rows
        for name, more in rows.items():
            if args.cold:
                drop_from_cache(program)
            results[name].append(measure([program, *more]))
    for name, runs in results.items():
        first, end, minor, major = (statistics.median(column) for column in zip(*runs))
        span = f"[{min(r[0] for r in runs):.2f} .. {max(r[0] for r in runs):.2f}]"
        print(f"{name:28} {first:8.2f}ms {span:>18} {end:6.2f}ms {minor:8.0f} {major:6.0f}")


if __name__ == "__main__":
    main()
