#!/usr/bin/env python3
"""Makes the small reference data of this folder from the full set: python3 make.py [FULL_SET]

FULL_SET defaults to ../shared/golden beside the repository. Plain Python 3, nothing else. See README.md for
what is copied, what is cut, and how the cut models get their expected values.
"""
import array
import json
import pathlib
import shutil
import struct
import sys

from nanochat import Nanochat

HERE = pathlib.Path(__file__).resolve().parent
LIMIT = 5_000_000
MADE_BY = "nanochat.py, from the cut weights"

# Whole models: the cases kept, beside seq and ar_seq, and the states h.i kept.
WHOLE = {
    "llama": (["idn_n4_K1_h0", "idn_n4_K2_h0", "idn_n4_K4_h0", "idn_n4_K1_batch_fwd",
               "idn_n4_K1_h0_elk0.1", "chunk_2xF2_K1_h0", "chunk_2xF2_K2_h0", "chunk_3xF2_K2_h0",
               "fused_1xF4_K1", "fused_1xF4_K1_avg"], range(6)),
    "qwen2": (["idn_n4_K1_h0", "idn_n4_K2_batch_fwd", "chunk_2xF2_K1_h0", "fused_1xF4_K1"], (0, 3, 5)),
    "qwen3": (["idn_n4_K1_h0", "idn_n4_K2_h0", "chunk_2xF2_K1_h0_avg", "chunk_2xF3_K1_h0"], (0, 3, 5)),
    "nanochat-win": (["idn_n2_K1_h0", "idnloop_n2_K2_h0", "idnloop_n3_K3_h0"], (0, 3)),
}
# Cut models: layers left (even, so that the layers with value embeddings stay the same).
CUT = {"nanochat-full": 2, "nanochat-gqa": 2, "nanochat-nox0ve": 2, "nanochat-mhc": 4}
# States after the last correction are kept for these cases only.
KEEP_STATES = {("llama", "idn_n4_K1_h0")}
FIELDS = ["key", "method", "plan", "applies", "tokens", "logits", "prompt", "prompt_ids", "generated",
          "min_top1_margin"]


def read_tensors(path):
    """{name: (dtype, shape, bytes)} of a safetensors file."""
    raw = path.read_bytes()
    n, = struct.unpack_from("<Q", raw)
    header = json.loads(raw[8:8 + n])
    header.pop("__metadata__", None)
    return {name: (t["dtype"], t["shape"], raw[8 + n:][slice(*t["data_offsets"])])
            for name, t in header.items()}


def write_tensors(path, tensors):
    header, data = {}, b""
    for name in sorted(tensors):
        dtype, shape, raw = tensors[name]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def f32(rows):
    flat = array.array("f", [x for row in rows for x in row])
    if sys.byteorder == "big":
        flat.byteswap()
    return "F32", [len(rows), len(rows[0])], flat.tobytes()


def numbers(tensor):
    dtype, shape, raw = tensor
    flat = array.array({"F32": "f", "I32": "i"}[dtype], raw)
    if sys.byteorder == "big":
        flat.byteswap()
    return flat.tolist()


def write_cases(folder, model, note, cases):
    lines = ",\n".join("  " + json.dumps(case) for case in cases)
    (folder / "cases.json").write_text(
        f' {{"model": "{model}",\n "note": {json.dumps(note)},\n "cases": [\n{lines}\n ]}}\n'.lstrip())


def reduced(case, keep_states):
    fields = FIELDS + (["hs_prefix", "hs_count"] if keep_states else [])
    return {key: case[key] for key in fields if case.get(key) is not None}


def copy_whole(full, model):
    """Model files as they are; some of the cases and what they name."""
    source, folder = full / model, HERE / model
    folder.mkdir(exist_ok=True)
    for name in ("config.json", "model.safetensors"):
        shutil.copyfile(source / name, folder / name)
        (folder / name).chmod(0o644)
    keys, states = WHOLE[model]
    stored = read_tensors(source / "expected.safetensors")
    by_key = {case["key"]: case for case in json.loads((source / "cases.json").read_text())["cases"]}
    wanted = ["seq", "ar_seq", *keys]
    if not all(by_key[key]["applies"] for key in wanted):
        sys.exit(f"{model}: a wanted case does not apply")
    cases = [reduced(by_key[key], (model, key) in KEEP_STATES) for key in wanted]
    keep = {f"h.{i}" for i in states} | {"x0"} & stored.keys()
    for case in cases:
        keep |= {case[field] for field in ("tokens", "logits", "prompt") if field in case}
        keep |= {f"{case['hs_prefix']}{j}" for j in range(case.get("hs_count", 0))}
    write_tensors(folder / "expected.safetensors", {name: stored[name] for name in keep})
    write_cases(folder, model, "weights and values are the reference's; see ../README.md", cases)


def flatten(rows):
    return [x for row in rows for x in row]


def stream_major(state):
    """[T, S, D] -> flat [S, T, D], the order in which the reference stores states of streams."""
    return [x for s in range(len(state[0])) for row in state for x in row[s]]


def check(model, what, stored, flat, limit):
    worst = max(abs(a - b) for a, b in zip(numbers(stored), flat, strict=True))
    if worst > limit:
        sys.exit(f"{model}: {what}: nanochat.py differs from the reference by {worst}")
    return worst


def model_of(config, weights):
    return Nanochat(config, {name: (t[1], numbers(t)) for name, t in weights.items()})


def layer_units(L, n):
    return [[i] for i in range(L - n, L)]


def plan_cases(L, family, fixed):
    """What is computed of a model of L layers: (key, kind, plan, arguments). Keys as in the reference."""
    n = min(4, L)
    pairs = [[i, i + 1] for i in range(L - n, L, 2)]
    chunk = f"chunk_{len(pairs)}xF2"
    return [
        (f"{family}_n2_K1_h0", "window", "n2 K1 h0", (layer_units(L, 2), 1)),
        (f"{family}_n2_K2_h0", "window", "n2 K2 h0", (layer_units(L, 2), 2)),
        (f"{family}_n{n}_K1_h0", "window", f"n{n} K1 h0", (layer_units(L, n), 1)),
        (f"{family}_n{n}_K2_h0", "window", f"n{n} K2 h0", (layer_units(L, n), 2)),
        (f"{family}_n{n}_K1_batch_fwd", "window", f"n{n} K1 batch_fwd", (layer_units(L, n), 1, "batch_fwd")),
        (f"{chunk}_K1_h0", "window", f"n{n} {len(pairs)}xF2 K1 h0 compat=reference",
         (pairs, 1, "h0", False)),
        ("ar_seq", "generation", "", ()),
        (f"ar_{family}_n{n}_K1_h0{fixed}", "generation", f"n{n} K1 h0 prefill=seq kv=corrected", (n, 1, "h0")),
        (f"ar_{family}_n{n}_K1_warm{fixed}", "generation", f"n{n} K1 warm prefill=seq kv=corrected",
         (n, 1, "warm")),
        (f"ar_{family}_n{n}_K2_batch_fwd{fixed}", "generation",
         f"n{n} K2 batch_fwd prefill=seq kv=corrected", (n, 2, "batch_fwd")),
    ]


def family_of(config):
    return "hcn" if config["use_mhc"] else "idn"


def fixed_of(config):
    """The reference's generation with unused factors exists twice; the one without its bug has a suffix."""
    return "_lambdafix" if config["no_x0_resid"] and not config["use_mhc"] else ""


def check_program(model, config, weights, stored, cases):
    """nanochat.py on the whole model must give the reference's outputs."""
    whole, tokens = model_of(config, weights), numbers(stored["tokens"])
    _, h, logits = whole.sequential(tokens)
    worst = check(model, "seq.logits", stored["seq.logits"], flatten(logits), 2e-5)
    for i, state in enumerate(h):
        check(model, f"h.{i}", stored[f"h.{i}"], stream_major(state), 1e-5)
    for key, kind, plan, args in plan_cases(whole.L, family_of(config), fixed_of(config)):
        case = cases[key]
        if (case["plan"], case["applies"]) != (plan, True):
            sys.exit(f"{model}: {key}: plan {case['plan']!r}, wanted {plan!r}")
        if kind == "window":
            rows = whole.window_logits(tokens, *args)
        else:
            generated, rows = whole.generate(numbers(stored["ar.prompt"]), 16, *args)
            if generated != case["generated"]:
                sys.exit(f"{model}: {key}: nanochat.py generates other tokens than the reference")
        if case["logits"]:
            worst = max(worst, check(model, key, stored[case["logits"]], flatten(rows), 3e-5))
    print(f"{model}: nanochat.py reproduces the reference within {worst:.1e}", flush=True)


def cut_weights(config, weights, n_layers):
    out = {}
    for name, (dtype, shape, raw) in weights.items():
        part = name.split(".")
        index = int(part[2]) if name.startswith("transformer.h.") else \
            int(part[1]) if name.startswith("value_embeds.") else 0
        if index >= n_layers:
            continue
        if name in ("resid_lambdas", "x0_lambdas"):
            shape, raw = [n_layers], raw[:4 * n_layers]
        out[name] = (dtype, shape, raw)
    return dict(config, n_layer=n_layers), out


def top_margin(rows):
    return min(a - b for a, b in (sorted(row)[:-3:-1] for row in rows))


def cut_cases(cut, family, tokens, prompt, expected):
    """Computes the cases of a cut model; adds their logits to `expected`."""
    out = {}
    for key, kind, plan, args in [("seq", "window", "", None), *plan_cases(cut.L, family, "")]:
        case = {"key": key, "plan": plan, "applies": True, "made_by": MADE_BY, "logits": f"{key}.logits"}
        if kind == "generation":
            generated, rows = cut.generate(prompt, 16, *args)
            case |= {"prompt": "ar.prompt", "generated": generated, "min_top1_margin": top_margin(rows)}
        else:
            rows = cut.window_logits(tokens, *args) if args else cut.sequential(tokens)[2]
            case |= {"tokens": "tokens"}
        expected[f"{key}.logits"] = f32(rows)
        out[key] = case
    return list(out.values())


def cut_model(full, model, n_layers):
    """The first layers only. States are the reference's; logits and tokens are nanochat.py's."""
    source, folder = full / model, HERE / model
    folder.mkdir(exist_ok=True)
    config = json.loads((source / "config.json").read_text())
    weights = read_tensors(source / "model.safetensors")
    stored = read_tensors(source / "expected.safetensors")
    cases = {case["key"]: case for case in json.loads((source / "cases.json").read_text())["cases"]}
    check_program(model, config, weights, stored, cases)
    config, weights = cut_weights(config, weights, n_layers)
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    write_tensors(folder / "model.safetensors", weights)
    cut, tokens = model_of(config, weights), numbers(stored["tokens"])
    for i, state in enumerate(cut.sequential(tokens)[1]):
        check(model, f"h.{i} of the cut model", stored[f"h.{i}"], stream_major(state), 1e-5)
    states = [f"h.{i}" for i in sorted({0, 1, n_layers - 1})]
    expected = {name: stored[name] for name in ("tokens", "ar.prompt", "x0", *states)}
    listed = cut_cases(cut, family_of(config), tokens, numbers(stored["ar.prompt"]), expected)
    write_tensors(folder / "expected.safetensors", expected)
    write_cases(folder, model, f"the first {n_layers} layers of the reference's model; see ../README.md", listed)


def main():
    full = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else HERE.parents[2] / "shared" / "golden"
    if not full.is_dir():
        sys.exit(f"the full reference set is not at {full}: give its folder as the argument")
    for model in WHOLE:
        copy_whole(full, model)
    for model, n_layers in CUT.items():
        cut_model(full, model, n_layers)
    total = 0
    for model in sorted([*WHOLE, *CUT]):
        size = sum(file.stat().st_size for file in (HERE / model).iterdir())
        print(f"{model:16} {size:9,}")
        total += size
    total += sum(file.stat().st_size for file in HERE.iterdir() if file.is_file())
    print(f"{'all':16} {total:9,} bytes, limit {LIMIT:,}")
    if total >= LIMIT:
        sys.exit("too large")


if __name__ == "__main__":
    main()
