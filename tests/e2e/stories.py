#!/usr/bin/env python3
"""stories260K, greedily from an empty prompt: the text and the ids that stand in the README of the models,
token for token. Skipped where the model is not there (../shared/models, or $SNL_SHARED/models)."""
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from program import SHARED, check, compile_model, generate, main, run, skip  # noqa: E402

TOKENS = 120
models = SHARED / "models"
if not (models / "stories260K" / "model.safetensors").is_file():
    skip(f"no stories260K in {models} (SNL_SHARED says where)")


def wanted():
    """First ids (the beginning token among them) and the text, out of the README."""
    readme = (models / "README.md").read_text()
    ids = re.search(r"stories260K, greedy, from an empty prompt \(ids start `([0-9 ]+)`\), 120 tokens", readme)
    check(ids, "the README does not say what stories260K writes")
    lines = [line[4:] for line in readme[ids.end():].splitlines() if line.startswith("    ")]
    return [int(word) for word in ids[1].split()], "\n".join(lines)


def text_and_ids(*options):
    program = compile_model(models / "stories260K", "stories", *options)
    ids, text = wanted()
    for how in ("-t", "1"), ("-t", "2"), ("-t", "2", "--block", "1"):
        found = run([program, "-p", "", "-n", TOKENS, *how]).stdout.decode()
        check(found == text, f"{how}: found\n{found}\nwanted\n{text}")
        found = generate(program, ids[:1], TOKENS, *how)
        check(found[:len(ids) - 1] == ids[1:], f"{how}: found {found[:len(ids) - 1]}, wanted {ids[1:]}")
    # Its own beginning as the prompt, in blocks of any size: the same continuation.
    for n in 1, 7, 19, len(found) - 8:
        for block in "1", "4", "64":
            rest = generate(program, ids[:1] + found[:n], TOKENS - n, "--block", block)
            check(rest == found[n:], f"after {n} tokens in blocks of {block}: found {rest}, wanted {found[n:]}")
    first = text.split(",")[0]
    rest = run([program, "-p", first, "-n", TOKENS, "--stop", "\n"]).stdout.decode()
    check(first + rest == text.split("\n")[0], f"after '{first}': found {rest}")


main([("as stored", text_and_ids), ("native", text_and_ids, "--cpu", "native")])
