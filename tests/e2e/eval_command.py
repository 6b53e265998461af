#!/usr/bin/env python3
"""`snlpc eval`: against the compiled program's own numbers and against what must hold for every plan.
eval_shared.py holds it against published tables and texts."""
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from program import (DATA, EXAMPLE, SCRATCH, SNLPC, check, compile_model, main, on_terminal, run)  # noqa: E402

TEXT = EXAMPLE / "README.md"
FULL = os.environ.get("SNL_FULL") == "1"


def evaluate(*options, text=TEXT, plans=(), model=EXAMPLE, threads=("-t", "1")):
    words = [word for plan in plans for word in ("--plan", plan)]
    done = run([SNLPC, "eval", model, "--text", text, "--json", *threads, *words, *options], timeout=900)
    check(done.stderr == b"", f"stderr without a terminal: {done.stderr.decode()}")
    return json.loads(done.stdout)


def fails(code, message, *options, model=EXAMPLE, text=TEXT, **more):
    words = ["--text", text] if text else []
    done = run([SNLPC, "eval", model, *words, *options], code=code, **more)
    check(message in done.stderr.decode(), f"{options}: no '{message}' in: {done.stderr.decode()}")
    check(done.stdout == b"", f"{options}: prints {done.stdout.decode()}")


def near(what, found, wanted, relative):
    check(abs(found - wanted) <= relative * abs(wanted), f"{what}: found {found}, wanted {wanted}")


def perplexity_is_the_programs_own():
    plans = ["n12 K1", "n8 4xF2 K2", "n4 K2 prefill=seq kv=corrected"]
    text = SCRATCH / "own.txt"
    text.write_bytes(TEXT.read_bytes()[:950])
    words = [word for plan in plans for word in ("--plan", plan)]
    program = compile_model(EXAMPLE, "ppl", "--context", "100", "--plan", "seq", *words)
    for extra, run_extra in (((), ()), (("--ppl-skip-half",), ("--ppl-skip-half",))):
        found = evaluate("--no-time", "--greedy", "0", "--context", "100", *extra, plans=plans, text=text)
        check(len(found["plans"]) == 4, "wanted seq and three plans")
        for plan in found["plans"]:
            done = run([program, "--ppl", text, "--json", "-t", "1", "--mode", plan["name"], *run_extra])
            wanted = json.loads(done.stdout)
            near(f"{plan['plan']} {extra}", plan["perplexity"], wanted["perplexity"], 1e-4)
            check(found["scored"] == wanted["scored"] and found["windows"] == wanted["windows"],
                  f"{found['scored']} scored in {found['windows']} windows, wanted {wanted}")


def exact_plans_lose_nothing():
    found = evaluate("--no-time", "--tokens", "600", "--greedy", "40", "--prompts", "2", "--weights", "f32",
                     plans=["n4 K=exact", "[2:6] K4 damping=0.5", "n12 K1"])
    seq, exact, middle, approximate = found["plans"]
    check(found["tokens"] == 600, "--tokens is not taken")
    check((seq["kl"], seq["agreement"], seq["greedy_match"]) == (0, 1, seq["greedy_length"]), str(seq))
    for plan in (exact, middle):
        near(plan["plan"], plan["perplexity"], seq["perplexity"], 1e-5)
        check(abs(plan["kl"]) < 1e-6 and plan["agreement"] == 1 and plan["exactness"] == "exact", str(plan))
        check(plan["greedy_match"] == 40, str(plan))
    check(approximate["kl"] > 1e-4 and approximate["agreement"] < 1, str(approximate))
    check((approximate["steps"], approximate["layer_evals"]) == (5, 16), str(approximate))
    check(approximate["decode_barriers"] < seq["decode_barriers"], str(approximate))
    check("decode_speedup" not in seq, "times without measuring")


def formats_are_rows():
    """One program for each format, all against the first; a head's format belongs to the one before it."""
    few = ["--tokens", "600", "--greedy", "8", "--prompts", "1", "--no-time"]
    formats = ["--weights", "f32", "--weights", "q8_0", "--weights", "q4_0", "--weights", "q4_0", "--weights-head", "q8_0"]
    rows = evaluate(*few, *formats, plans=["n4 K=exact"])["plans"]
    names = [row["weight_format"] for row in rows]
    check(names == ["f32"] * 2 + ["q8_0"] * 2 + ["q4_0"] * 2 + ["q4_0, head q8_0"] * 2, str(names))
    f32, exact, q8, _, q4, _, mixed, _ = rows
    check(f32["kl"] == 0 and exact["kl"] < 1e-6, f"{f32['kl']}, {exact['kl']}")
    check(1e-6 < q8["kl"] < 0.01 < mixed["kl"] < 1 and q4["kl"] > 0.01, f"{q8['kl']}, {q4['kl']}, {mixed['kl']}")
    check(q4["weight_bytes"] < mixed["weight_bytes"] < q8["weight_bytes"] < f32["weight_bytes"], str(rows))
    for row, *options in ((q8, "--weights", "q8_0"), (mixed, "--weights-head", "q8_0", "--weights", "q4_0")):
        alone = evaluate(*few, *options)["plans"][0]
        check(alone["weight_format"] == row["weight_format"], alone["weight_format"])
        near(str(options), alone["perplexity"], row["perplexity"], 1e-9)
    both = evaluate(*few, "--weights-head", "f16", "--weights", "q8_0", "--weights", "f16")["plans"]
    check([row["weight_format"] for row in both] == ["q8_0, head f16", "f16"], str(both))
    words = [word for pair in (few, formats) for word in pair]
    lines = run([SNLPC, "eval", EXAMPLE, "--text", TEXT, *words]).stdout.decode().splitlines()
    check(lines[0].split()[:5] == ["caches", "f32", "seq", "2.0", "MiB"], lines[0])
    check(lines[1].split()[:4] == ["q8_0", "seq", "1.0", "MiB"], lines[1])
    lines = lines[5:]
    check(lines[3].split()[:5] == ["weights", "size", "plan", "perplexity", "against"], lines[3])
    check(lines[7].startswith("q4_0, head q8_0 "), "\n".join(lines))


def times_and_table():
    found = evaluate("--tokens", "200", "--greedy", "0", plans=["n8 K1"])
    check(found["threads"] == 1 and found["rounds"] >= 3, str(found))
    for plan in found["plans"]:
        check(plan["decode_tokens_per_second"] > 0 and plan["prefill_tokens_per_second"] > 0, str(plan))
    check(found["plans"][0]["decode_speedup"] == 1, str(found["plans"][0]))
    done = run([SNLPC, "eval", EXAMPLE, "--text", TEXT, "--tokens", "200", "--plan", "n8   K1", "-t", "1"])
    lines = done.stdout.decode().splitlines()
    check(lines[0].split()[:4] == ["caches", "seq", "1.0", "MiB"] and lines[1].startswith("         n8 K1 h0 "),
          "\n".join(lines))
    lines = lines[3:]
    check("README.md: 200 tokens, 1 window of 128, 127 scored" in lines[0], lines[0])
    check(lines[3].split()[:3] == ["plan", "perplexity", "against"], lines[3])
    check(lines[4].startswith("seq ") and lines[5].startswith("n8 K1 h0 "), "\n".join(lines))
    columns = lines[5].split()
    check(columns[-7:-5] == ["16", "9"], lines[5])  # evaluations, steps


def residuals_obey_the_exactness_law():
    options = ["--residuals", "--tokens", "24"]
    found = evaluate(*options, plans=["n6 K3", "[2:5] K9 surrogate=zero damping=0.5", "n4 2xF2 K2 batch_fwd"],
                     threads=())
    check(found["tokens"] == 24, str(found)[:80])
    for plan in found["plans"][:2]:
        units = plan["windows"][0]["units"]
        for j, unit in enumerate(units):
            for k, error in enumerate(unit["sweeps"]):
                check((error < 1e-12) == (k >= j), f"{plan['plan']}: unit {j}, sweep {k + 1}: {error}")
    check(len(found["plans"][1]["windows"][0]["units"][0]["sweeps"]) == 3, "K9 of 3 units is 3 sweeps")
    fused = found["plans"][2]["windows"][0]["units"]
    check([unit["layers"] for unit in fused] == ["12-13", "14-15"], str(fused))
    for unit in fused:
        check(unit["in_sequence"] > 1e-4, "a fused layer is another function")
        near("two sweeps of two units", unit["sweeps"][1], unit["in_sequence"], 1e-9)
    table = run([SNLPC, "eval", EXAMPLE, "--text", TEXT, "--plan", "n3 K2", *options]).stdout.decode()
    check("sweep 1" in table and "0.000e+00" in table and table.startswith("relative error"), table)


def bad_input_is_refused():
    fails(2, "no text given", text=None)
    fails(2, "--tokens: found '1'", "--tokens", "1")
    fails(4, "/nowhere/text", text="/nowhere/text")
    fails(1, "eval: with warm a token's result depends", "--plan", "n4 warm prefill=seq")
    fails(1, "n17 is more than the chain has", "--plan", "n17")
    fails(2, "wanted another name: seq is always the sequential program", "--plan", "seq=n2")
    fails(2, "no plan with a window", "--residuals")
    for formats in (("--weights", "f32", "--weights", "q8_0"), ("--weights", "q4_0"), ("--weights", "source"),
                    ("--weights-head", "q4_0"), ("--kv", "q8_0"), ("--kv", "auto")):
        fails(2, "--residuals takes no --weights, --weights-head or --kv", "--residuals", "--plan", "n4 K2", *formats)
    for option in (("--greedy", "8"), ("--prompts", "2"), ("--ppl-skip-half",), ("--threads", "1"), ("-t", "1"),
                   ("--no-time",), ("--cpu", "x86-64-v3")):
        name = "--threads" if option[0] == "-t" else option[0]
        fails(2, f"--residuals takes no {name}, which is about compiled programs", "--residuals", "--plan", "n4 K2",
              *option)
    for how in ((), ("--residuals",)):
        fails(2, "eval takes no --pipeline", "--plan", "n4 K2", "--pipeline", "", *how)
    fails(2, "--weights: found 'q5_0'", "--weights", "f32", "--weights", "q5_0")
    fails(2, "--tokens: error[E0501]: found 200, wanted at most the context of 128", "--residuals", "--plan", "n4",
          "--tokens", "200")
    fails(1, "plan n4 K2 h0) keeps 2.4 MiB (19 of 128.0 KiB + 1 of 512 bytes) of caches, wanted at most 2.1 MiB",
          "--plan", "n4 K2", "--max-state", "2.1M", "--kv", "f32")
    fails(1, "plan n4 K2 h0) keeps 4.8 MiB of caches in the evaluator, 8 bytes a number, wanted at most 4.7 MiB",
          "--plan", "n4 K2", "--max-state", "4.7M", "--residuals")
    evaluate("--residuals", "--tokens", "4", "--max-state", "4.8M", plans=["n4 K2"], threads=())
    for how in (("--kv", "f32"), ("--residuals",)):
        fails(4, "plan: cannot open 'none.npy'", "--plan", "n4 surrogate=diag:none.npy", *how)
    nowhere = {**os.environ, "TMPDIR": str(SCRATCH / "none")}
    fails(4, "cannot make a folder for temporary files", "--plan", "n2", env=nowhere)
    fails(1, "no tokenizer", "--plan", "n2", model=DATA / "llama", env=nowhere)  # before anything is compiled
    fails(1, "no tokenizer", "--plan", "n2", "--residuals", model=DATA / "llama")
    fails(2, "found 1 positions, too few", "--context", "1")
    short = SCRATCH / "short"
    short.write_text("x")
    fails(1, "found 1 tokens, too few to score one", text=short)


def not_numbers_are_told():
    """One matrix of the last layer is too large for its products."""
    model = SCRATCH / "overflows"
    shutil.copytree(EXAMPLE, model)
    path = model / "model.safetensors"
    raw = bytearray(path.read_bytes())
    start = 8 + int.from_bytes(raw[:8], "little")
    begin, end = json.loads(raw[8:start])["transformer.h.15.mlp.c_fc.weight"]["data_offsets"]
    raw[start + begin:start + end] = b"\x00\x7f" * ((end - begin) // 2)  # bf16 1.7e38
    path.chmod(0o644)
    path.write_bytes(raw)
    done = run([SNLPC, "eval", model, "--text", TEXT, "--tokens", "100", "--no-time", "--json"], code=1)
    check(re.search(rb"^seq: error.*: position \d+: the logits are not numbers", done.stderr), str(done))
    check(b"nan" not in done.stdout, f"prints {done.stdout}")


def help_is_there():
    check(b"\n  eval " in run([SNLPC, "--help"]).stdout, "snlpc --help does not list eval")
    done = run([SNLPC, "eval", "--help"])
    for word in (b"--residuals", b"--plan", b"--ppl-skip-half", b"n8 K=exact", b"Exit status"):
        check(word in done.stdout, f"no {word} in the help")
    check(done.stderr == b"", "help on stderr")


def a_missing_text_is_told_first():
    """Before the model is looked at, which could take minutes."""
    fails(4, "/nowhere/text: error[E0601]: cannot open: No such file", text="/nowhere/text", model=SCRATCH / "no-model")
    fails(4, "found a directory, wanted a file", text=SCRATCH, model=SCRATCH / "no-model")


def nothing_stays_behind():
    folder = SCRATCH / "temporary"
    folder.mkdir()
    env = dict(os.environ, TMPDIR=str(folder))
    run([SNLPC, "eval", EXAMPLE, "--text", TEXT, "--tokens", "50", "--no-time"], env=env)
    short = SCRATCH / "one-letter"
    short.write_text("x")
    run([SNLPC, "eval", EXAMPLE, "--text", short, "--no-time"], code=1, env=env)
    check(not list(folder.iterdir()), f"left {list(folder.iterdir())}")


def a_terminal_sees_progress():
    seen = on_terminal([SNLPC, "eval", EXAMPLE, "--text", TEXT, "--no-time", "--tokens", "2000"])
    check(b"text [" in seen and b"100 %" in seen, seen.decode())


if __name__ == "__main__":
    main([perplexity_is_the_programs_own, exact_plans_lose_nothing, formats_are_rows, times_and_table,
          residuals_obey_the_exactness_law, bad_input_is_refused, not_numbers_are_told, help_is_there,
          a_missing_text_is_told_first, nothing_stays_behind, a_terminal_sees_progress])
