#!/usr/bin/env python3
"""Workspace and caches are used as planned: of the bytes that the compiler and the program print, the pages
that a run has touched, within 1 %.

A program is stopped where all its steps are done: at its last write, for which the pipe has no room. Which
pages it has touched then, /proc/PID/pagemap says page by page (and not by what the kernel counts, which may
round to huge pages). The caches are one mapping of their size and the workspace another; the kernel joins
them where they lie side by side, the workspace below.

A plan's window ends in layers that only the rows need whose logits are wanted, and buffers for these are
planned for all rows of a block: a run that wants all (--logits, --ppl) fills them, one that only continues a
text leaves what is above the last row alone.
"""
import fcntl
import json
import os
import pathlib
import re
import struct
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from program import (SCRATCH, SNLPC, Failed, check, ids_text, main, run, skip)  # noqa: E402

PAGE = os.sysconf("SC_PAGESIZE")
CONTEXT, DECODED = 512, 9
MODEL = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 288,
         "intermediate_size": 768, "num_hidden_layers": 6, "num_attention_heads": 6, "num_key_value_heads": 6,
         "head_dim": 48, "vocab_size": 250, "max_position_embeddings": CONTEXT, "rms_norm_eps": 1e-5,
         "rope_theta": 10000.0, "tie_word_embeddings": True, "hidden_act": "silu"}
UNIT = {"bytes": 1, "KiB": 2 ** 10, "MiB": 2 ** 20}
PRINTED = re.compile(r"caches +([\d.]+) (\w+).*\n +workspace ([\d.]+) (\w+), and ([\d.]+) (\w+) for each thread")


def pages(nbytes):
    return -(-nbytes // PAGE)


# ---- what is printed -----------------------------------------------------------------------------------

def compiled(name, *options):
    """The program, and the figures of the compile summary: caches, shared, for each thread; as (bytes, half a
    unit of the last digit)."""
    folder = SCRATCH / "model"
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(MODEL))
    path = SCRATCH / name
    text = run([SNLPC, "compile", folder, "-o", path, "--random-weights", "1", "--cpu", "native",
                *options]).stderr.decode()
    found = PRINTED.search(text)
    check(found, f"no caches and workspace in:\n{text}")
    values = found.groups()
    return path, [(float(n) * UNIT[unit], 0.05 * UNIT[unit]) for n, unit in zip(values[::2], values[1::2])]


def printed_bytes(program, summary, threads, stats):
    """Caches and workspace; all that print them agree."""
    about = json.loads(run([program, "--about", "--json"]).stdout)
    mode = about["modes"][0]
    caches, work = mode["state_bytes"], mode["shared_bytes"] + threads * mode["private_bytes"]
    check((caches, work) == (stats["state_bytes"], stats["work_bytes"]),
          f"--about says {caches} and {work}, the run {stats['state_bytes']} and {stats['work_bytes']}")
    for what, exact, (short, most) in zip(("caches", "shared workspace", "workspace of a thread"),
                                          (caches, mode["shared_bytes"], mode["private_bytes"]), summary):
        check(abs(exact - short) <= most, f"{what}: --about says {exact}, the compiler {short:.0f}")
    return caches, work


# ---- what is used ------------------------------------------------------------------------------------------

def pipe_with_room(nbytes):
    """A pipe of one page, full but for nbytes."""
    read, write = os.pipe()
    check(fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, PAGE) == PAGE, "no pipe of one page")
    os.write(write, b"." * (PAGE - nbytes))
    return read, write


def stopped_at_its_end(argv, output):
    """The program at the last write of `output`, and the other end of its pipe."""
    read, write = pipe_with_room(len(output) - 1)
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=write, stderr=subprocess.DEVNULL)
    os.close(write)
    for _ in range(6000):
        if process.poll() is not None:
            raise Failed(f"{argv} ended with {process.returncode} before its last write")
        if pathlib.Path(f"/proc/{process.pid}/syscall").read_text().startswith("1 0x1 "):
            return process, read
        time.sleep(0.01)
    process.kill()
    raise Failed(f"{argv} did not come to its last write in a minute")


def mappings(pid):
    """(begin, end) of the private ones without a file that can be written."""
    for line in pathlib.Path(f"/proc/{pid}/maps").read_text().splitlines():
        fields = line.split()
        if fields[1] == "rw-p" and len(fields) == 5:
            begin, end = (int(x, 16) for x in fields[0].split("-"))
            yield begin, end


def touched(pid, begin, end):
    """For each page whether it is in memory, or in swap."""
    with open(f"/proc/{pid}/pagemap", "rb") as file:
        file.seek(begin // PAGE * 8)
        raw = file.read((end - begin) // PAGE * 8)
    return [entry >> 62 != 0 for entry, in struct.iter_unpack("<Q", raw)]


def used_pages(pid, caches, work):
    """Pages touched of the caches and of the workspace."""
    n, m = pages(caches), pages(work)
    found = {(end - begin) // PAGE: (begin, end) for begin, end in mappings(pid)}
    if n + m in found:
        both = touched(pid, *found[n + m])
        return sum(both[m:]), sum(both[:m])
    check(n in found and m in found, f"no mappings of {n} and {m} pages, only of {sorted(found)}")
    return sum(touched(pid, *found[n])), sum(touched(pid, *found[m]))


def measured(program, summary, threads, *options):
    """Printed and used bytes of the caches and the workspace of a run that fills the context."""
    ids = ids_text([(7 * i * i + 3 * i) % 250 for i in range(CONTEXT - DECODED + 1)])
    argv = [str(program), "--ids", ids, "-n", str(DECODED), "-t", str(threads), "--ignore-eos", *options]
    done = run([*argv, "--json"])
    stats = json.loads(done.stderr.splitlines()[-1])
    check(stats["prompt_tokens"] + stats["decode_steps"] == CONTEXT, f"the context is not full: {stats}")
    printed = printed_bytes(program, summary, threads, stats)
    process, read = stopped_at_its_end(argv, done.stdout)
    try:
        return printed, [PAGE * n for n in used_pages(process.pid, *printed)]
    finally:
        process.kill()
        process.wait()
        os.close(read)


def check_equal(what, printed, used):
    """Within 1 %, or the page that a size ends in."""
    error = abs(used - printed)
    check(error <= max(0.01 * printed, PAGE), f"{what}: {printed} bytes printed, {used} used")
    return error / printed


# ---- the tests ----------------------------------------------------------------------------------------------

ALL_ROWS = ("--logits", os.devnull)


def as_planned(options, *run_options):
    program, summary = compiled("program", *options)
    worst = 0.0
    for threads in 1, 2, 3:
        for what, printed, used in zip(("caches", "workspace"), *measured(program, summary, threads, *run_options)):
            worst = max(worst, check_equal(f"-t {threads}, {what}", printed, used))
    return f"within {100 * worst:.2f} %"


def wrong_figures_are_seen():
    """2 % more or fewer, and a context that is not filled."""
    program, summary = compiled("wrong")
    for printed, used in zip(*measured(program, summary, 2)):
        for factor in 0.98, 1.02:
            try:
                check_equal("wrong", int(factor * printed), used)
            except Failed:
                continue
            raise Failed(f"{factor} x {printed} bytes pass for {used}")
    caches, work = measured(program, summary, 1)[0]
    process, read = stopped_at_its_end([str(program), "--ids", "1 2 3", "-n", "1", "-t", "1"], b"..")
    used = used_pages(process.pid, caches, work)
    process.kill()
    process.wait()
    os.close(read)
    check(used[0] < 0.5 * pages(caches), f"{used[0]} pages of caches after three tokens")


if not pathlib.Path("/proc/self/pagemap").exists():
    skip("no /proc/PID/pagemap here")
main([("f32", as_planned, []), ("q8_0, caches q8_0", as_planned, ["--weights", "q8_0", "--kv", "q8_0"]),
      ("a plan, logits of all rows", as_planned, ["--plan", "n4 K1"], *ALL_ROWS),
      ("a plan, prompts layer by layer", as_planned, ["--plan", "n4 K2 prefill=seq kv=corrected", "--weights", "bf16"]),
      wrong_figures_are_seen])
