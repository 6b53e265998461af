#!/usr/bin/env python3
"""The exactness law through compiled programs: random models of every family (shapes and weights drawn),
random plans that are exact. Each gives the logits of the sequential graph, prompt and decoding, however the
prompt is divided; one sweep less does not. tests/numeric/test_exactness_law.c is the same law in the evaluator.

SNL_SEEDS=FIRST-LAST names the seeds (otherwise one; with SNL_FULL=1 twenty)."""
import json
import os
import pathlib
import random
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from program import (DATA, MODELS, SCRATCH, check, close, compile_model, logits, main, numbers,  # noqa: E402
                     raw_numbers, run)

EXACT_PLANS = 4  # of each model
FEWEST = 20      # exact plans that a run must have compiled
LIMIT = 1e-5     # of the largest logit
DECODED = 5
compiled = 0


def seeds():
    named = os.environ.get("SNL_SEEDS")
    if named:
        first, _, last = named.partition("-")
        return range(int(first), int(last or first) + 1)
    return range(1, 21) if os.environ.get("SNL_FULL") == "1" else range(1, 2)


# ---- models ------------------------------------------------------------------------------------------

def random_shape(rng, config):
    """Another shape of the same family; returns (layers, width or None with streams, vocabulary, context)."""
    if config["model_type"] == "nanochat":
        config["n_layer"] = rng.randint(3, 6)
        config["vocab_size"] = rng.randint(40, 130)
        config["n_kv_head"] = rng.choice([n for n in (1, 2, 4) if config["n_head"] % n == 0])
        if "S" in config["window_pattern"]:
            config["window_pattern"] = rng.choice(["SL", "SSL", "LS", "S"])
        if config["use_mhc"]:
            config["mhc_num_streams"] = rng.randint(2, 4)
        return (config["n_layer"], None if config["use_mhc"] else config["n_embd"], config["vocab_size"],
                config["sequence_len"])
    config["num_hidden_layers"] = rng.randint(3, 7)
    config["vocab_size"] = rng.randint(40, 130)
    config["num_key_value_heads"] = rng.choice([1, 2, 4])
    config["intermediate_size"] = 16 * rng.randint(3, 7)
    config["tie_word_embeddings"] = rng.random() < 0.5
    return config["num_hidden_layers"], config["hidden_size"], config["vocab_size"], config["max_position_embeddings"]


def random_model(rng, name, seed):
    folder = SCRATCH / f"{name}-{seed}"
    folder.mkdir()
    config = json.loads((DATA / name / "config.json").read_text())
    shape = random_shape(rng, config)
    (folder / "config.json").write_text(json.dumps(config))
    return folder, *shape


# ---- plans -------------------------------------------------------------------------------------------

def diagonal(rng, rows, width):
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {width}), }}\n".encode()
    path = SCRATCH / f"diag{rng.getrandbits(60)}.npy"
    values = raw_numbers([rng.uniform(-1, 1) for _ in range(rows * width)])
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + values)
    return path


def exact_window(rng, begin, end, width):
    n = end - begin
    init = rng.choice(["h0", "batch_fwd"])
    words = [f"[{begin}:{end}]"]
    if rng.random() < 0.3:
        words.append(rng.choice([f"{n}xF1", f"F({','.join('1' * n)})"]))
    fewest = max(1, n - (init == "batch_fwd"))  # the forward without correction counts
    words += [init, rng.choice(["K=exact", f"K{fewest}", f"K{n + 3}"])]
    if rng.random() < 0.5:
        words.append(f"damping=0.{rng.randint(1, 9)}")
    kinds = ["", "surrogate=identity", "surrogate=zero"]
    kinds.append(f"surrogate=diag:{diagonal(rng, n, width)}" if width else "surrogate=streams")
    return " ".join(filter(None, [*words, rng.choice(kinds)]))


def exact_plan(rng, layers, width):
    begin = rng.randrange(layers - 1)
    end = rng.randint(begin + 2, layers)
    text = exact_window(rng, begin, end, width)
    while end < layers and rng.random() < 0.7:
        begin = rng.randint(end, layers - 1)
        end = rng.randint(begin + 1, layers)
        text += "; " + exact_window(rng, begin, end, width)
    return text + rng.choice(["", "", " prefill=seq", " prefill=seq kv=corrected"])


def one_sweep_less(rng, layers):
    begin = rng.randrange(layers - 1)
    end = rng.randint(begin + 2, layers)
    return f"[{begin}:{end}] K{end - begin - 1} h0"


# ---- the law -----------------------------------------------------------------------------------------

def exactness(program):
    about = json.loads(run([program, "--about", "--json"]).stdout)
    return {mode["name"]: mode["exactness"] for mode in about["modes"]}


def distance(found, wanted):
    return max(abs(a - b) for a, b in zip(found, wanted, strict=True))


def law(name, seed):
    global compiled
    rng = random.Random(f"{name} {seed}")
    folder, layers, width, vocab, context = random_model(rng, name, seed)
    plans = {f"e{i}": exact_plan(rng, layers, width) for i in range(EXACT_PLANS)}
    less = one_sweep_less(rng, layers)
    options = [word for mode, plan in [*plans.items(), ("less", less)] for word in ("--plan", f"{mode}={plan}")]
    program = compile_model(folder, f"law-{name}-{seed}", "--random-weights", seed, "--weights", "f32", "--plan", "seq",
                            *options)
    ids = [rng.randrange(vocab) for _ in range(min(context, 150) - DECODED - 1)]  # longer than sliding windows

    def of(mode, *more):
        return numbers(logits(program, ids, "--mode", mode, "-t", "2", *more, n=DECODED))

    wanted, said = of("seq"), exactness(program)
    limit = LIMIT * max(map(abs, wanted))
    worst = 0.0
    for mode, plan in plans.items():
        check(said[mode] == "exact", f"{name}, seed {seed}: {plan}: {said[mode]}")
        for block in ("64", "1", str(rng.choice([3, 5, 7, 33]))):
            what = f"{name}, seed {seed}: {plan}, block {block}"
            worst = max(worst, close(what, of(mode, "--block", block), wanted, limit))
        compiled += 1
    check("approximate" in said["less"], f"{less}: {said['less']}")
    check(distance(of("less"), wanted) > 10 * limit, f"{name}, seed {seed}: {less} gives the sequential logits")
    program.unlink()
    return f"{layers} layers, {len(plans)} plans within {worst / limit * LIMIT:.1e} of the largest logit"


def enough_was_compiled():
    check(compiled >= FEWEST, f"{compiled} exact plans were compiled, wanted at least {FEWEST}")
    return f"{compiled} exact plans"


if __name__ == "__main__":
    main([(f"{name} {seed}", law, name, seed) for seed in seeds() for name in MODELS] + [enough_was_compiled])
