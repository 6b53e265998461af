#!/usr/bin/env python3
"""Programs end to end against the evaluator with the same formats: NMSE and mean KL of the logits, for
--weights and --kv of every kind, decode and prefill; the same bits with any number of threads.

Both sides round activations and caches at the same places, the program numbers computed in f32, the
evaluator in f64. Where a number lies between two of a narrow format, its last bit decides: one such flip
in ten thousand numbers or so, and then everything behind it differs by about the format's own rounding.
So random models, which amplify, are given many short texts: most of them must agree as f32 does, to 1e-5 of
the largest logit, and all of them together within the limits. The trained model is given whole texts.
"""
import math
import os
import pathlib
import shutil
import struct
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from program import (DATA, EXAMPLE, MODELS, SCRATCH, SNLPC, Failed, check, compile_model, generate,  # noqa: E402
                     logits, main, numbers, run)

FULL = os.environ.get("SNL_FULL") == "1"
WEIGHTS, CACHES = ["f32", "bf16", "f16", "q8_0", "q4_0"], ["f32", "f16", "q8_0"]
NMSE_LIMIT = KL_LIMIT = 1e-4
EXACT = 1e-5  # of the largest logit
SHORT = 6


def format_options(weights, kv):
    return ["--weights", weights, *(["--weights-head", "q8_0"] if weights == "q4_0" else []), "--kv", kv]


def text_model(model):
    """The model as IR text beside its weights: what `snlpc run` takes."""
    folder = SCRATCH / f"{model.name}-text"
    if not folder.exists():
        folder.mkdir()
        shutil.copyfile(model / "model.safetensors", folder / "model.safetensors")
        (folder / "model.snl").write_bytes(run([SNLPC, "compile", model, "--emit", "ir", "--pipeline", ""]).stdout)
    return folder / "model.snl"


def read_npy(path):
    raw = path.read_bytes()
    return numbers(raw[10 + struct.unpack_from("<H", raw, 8)[0]:])


def write_ids(path, ids):
    header = f"{{'descr': '<i4', 'fortran_order': False, 'shape': ({len(ids)},), }}"
    header += " " * (-(len(header) + 11) % 64) + "\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode()
                     + struct.pack(f"<{len(ids)}i", *ids))


def evaluated(model, ids, options):
    """The evaluator's logits of all positions."""
    write_ids(SCRATCH / "ids.npy", ids)
    run([SNLPC, "run", text_model(model), "forward", "--eval", *options, f"tokens={SCRATCH / 'ids.npy'}",
         "-o", SCRATCH / "evaluated"])
    return read_npy(SCRATCH / "evaluated.0.npy")


def log_softmax(row):
    top = max(row)
    total = top + math.log(sum(math.exp(x - top) for x in row))
    return [x - total for x in row]


class Errors:
    """Of all logits that were added, rows of `vocab`."""

    def __init__(self, vocab):
        self.vocab, self.rows, self.kl, self.error, self.size = vocab, 0, 0.0, 0.0, 0.0
        self.exact = self.texts = 0

    def add(self, found, wanted):
        check(len(found) == len(wanted), f"found {len(found)} logits, wanted {len(wanted)}")
        for at in range(0, len(wanted), self.vocab):
            p, q = (log_softmax(x[at:at + self.vocab]) for x in (wanted, found))
            self.kl += sum(math.exp(a) * (a - b) for a, b in zip(p, q))
            self.rows += 1
        self.error += sum((a - b) ** 2 for a, b in zip(found, wanted))
        self.size += sum(b * b for b in wanted)
        self.texts += 1
        self.exact += max(abs(a - b) for a, b in zip(found, wanted)) <= EXACT * max(map(abs, wanted))

    def check(self, what, exact_share=0.0):
        nmse, kl = self.error / self.size, self.kl / self.rows
        note = f"{what}: NMSE {nmse:.1e}, mean KL {kl:.1e}, {self.exact} of {self.texts} within {EXACT}"
        check(nmse <= NMSE_LIMIT and kl <= KL_LIMIT, f"{note}; wanted {NMSE_LIMIT} and {KL_LIMIT} at most")
        check(self.exact >= exact_share * self.texts, f"{note}; wanted {exact_share:.0%} of them")
        return nmse, kl


def all_ways(program, ids, blocks):
    """Raw logits by block size; the same bits with 1, 2 and 3 threads."""
    found = {}
    for block in blocks:
        found[block] = logits(program, ids, "-t", "1", "--block", block)
        for threads in ("2", "3"):
            check(logits(program, ids, "-t", threads, "--block", block) == found[block],
                  f"--block {block}: -t {threads} gives other bits than -t 1")
    return found


def vocab_of(model):
    return len(evaluated(model, [1], []))


def short_texts(vocab, n, length):
    return [[(7 * i * i + 11 * t * (i + 1) + 5 * t * t) % vocab for t in range(length)] for i in range(n)]


def random_model(name):
    """Formats in turn; with f32 weights and caches nothing is rounded, and every text is exact."""
    model, worst = DATA / name, (0.0, 0.0)
    vocab = vocab_of(model)
    for i, weights in enumerate(WEIGHTS):
        for kv in CACHES if FULL else [CACHES[(i + len(name)) % 3]]:
            options = format_options(weights, kv)
            program = compile_model(model, name, *options)
            errors = Errors(vocab)
            for k, ids in enumerate(short_texts(vocab, 24 if FULL else 8, SHORT)):
                wanted = evaluated(model, ids, options)
                ways = all_ways(program, ids, ("1", "4")) if k == 0 else {
                    block: logits(program, ids, "--block", block) for block in ("1", "64")[k % 2:][:1]}
                for raw in ways.values():
                    errors.add(numbers(raw), wanted)
            nothing_rounded = weights in ("f32", "f16") and kv == "f32"
            worst = max(worst, errors.check(f"{weights}, kv {kv}", 1.0 if nothing_rounded else 0.5))
            program.unlink()
    return f"worst NMSE {worst[0]:.1e}, KL {worst[1]:.1e}"


def own_words(n, seed):
    """What the trained model writes: a text as it knows them."""
    program = SCRATCH / "writer"
    if not program.exists():
        compile_model(EXAMPLE, "writer")
    prompt = list(b"\n")
    return prompt + generate(program, prompt, n, "--seed", str(seed), "--temp", "0.8")


def trained_model(weights, kv):
    options = format_options(weights, kv)
    program = compile_model(EXAMPLE, "trained", *options)
    errors = Errors(256)
    for seed in range(1, 9 if FULL else 3):
        ids = own_words(100, seed)
        wanted = evaluated(EXAMPLE, ids, options)
        for raw in all_ways(program, ids, ("1", "64") if seed == 1 or FULL else ("17",)).values():
            errors.add(numbers(raw), wanted)
    nmse, kl = errors.check(f"{weights}, kv {kv}", 1.0 if weights in ("f32", "f16") and kv == "f32" else 0.0)
    return f"NMSE {nmse:.1e}, KL {kl:.1e}"


def other_formats_are_told_apart():
    """The limits are below what a format costs: the evaluator with another one is beyond them."""
    model = DATA / "llama"
    vocab, ids = vocab_of(model), short_texts(64, 1, 24)[0]
    for weights, other in (("q4_0", "q8_0"), ("q8_0", "f32")):
        program = compile_model(model, "other", *format_options(weights, "f16"))
        errors = Errors(vocab)
        errors.add(numbers(logits(program, ids)), evaluated(model, ids, format_options(other, "f16")))
        try:
            errors.check("other")
        except Failed:
            continue
        raise Failed(f"{weights} passes for {other}")


TRAINED = [(w, kv) for w in WEIGHTS for kv in CACHES] if FULL else [("f32", "f32"), ("bf16", "f16"),
                                                                    ("q8_0", "f16"), ("q4_0", "q8_0")]
main([(f"{name}, formats of every kind", random_model, name)
      for name in (MODELS if FULL else ["llama", "qwen2", "nanochat-mhc"])]
     + [(f"trained model, {w}, kv {kv}", trained_model, w, kv) for w, kv in TRAINED]
     + [other_formats_are_told_apart])
