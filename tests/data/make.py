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
CUT_LAYERS = 2
CUT_FROM = "made by nanochat.py from the cut weights"

# Whole models: the cases kept, beside seq and ar_seq, and the states h.i kept.
WHOLE = {
    "llama": (["idn_n4_K1_h0", "idn_n4_K2_h0", "idn_n4_K4_h0", "idn_n4_K1_batch_fwd",
               "idn_n4_K1_h0_elk0.1", "chunk_2xF2_K1_h0", "chunk_2xF2_K2_h0", "chunk_3xF2_K2_h0",
               "fused_1xF4_K1", "fused_1xF4_K1_avg"], range(6)),
    "qwen2": (["idn_n4_K1_h0", "idn_n4_K2_batch_fwd", "chunk_2xF2_K1_h0", "fused_1xF4_K1"], (0, 3, 5)),
    "qwen3": (["idn_n4_K1_h0", "idn_n4_K2_h0", "chunk_2xF2_K1_h0_avg", "chunk_2xF3_K1_h0"], (0, 3, 5)),
    "nanochat-win": (["idn_n2_K1_h0", "idnloop_n2_K2_h0", "idnloop_n3_K3_h0"], (0, 3)),
    "nanochat-mhc": (["hcn_n4_K1_h0", "hcn_n4_K2_h0", "hcn_n4_K4_h0", "hcn_n4_K1_batch_fwd",
                      "chunk_2xF2_K1_h0", "chunk_2xF2_K1_batch_fwd", "ar_hcn_n4_K1_h0",
                      "ar_hcn_n4_K1_warm", "ar_hcn_n4_K2_batch_fwd", "ar_nokv_hcn_n4_K1_h0"], (0, 7)),
}
CUT = ["nanochat-full", "nanochat-gqa", "nanochat-nox0ve"]
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


def largest_difference(model, what, tensor, rows, limit):
    stored = numbers(tensor)
    worst = max(abs(a - b) for a, b in zip(stored, (x for row in rows for x in row), strict=True))
    if worst > limit:
        sys.exit(f"{model}: {what}: nanochat.py differs from the reference by {worst}")
    return worst


def model_of(config, weights):
    return Nanochat(config, {name: (t[1], numbers(t)) for name, t in weights.items()})


def check_program(model, config, weights, stored, cases):
    """nanochat.py on the uncut model must give the reference's outputs."""
    whole, tokens = model_of(config, weights), numbers(stored["tokens"])
    _, h, logits = whole.sequential(tokens)
    worst = largest_difference(model, "seq.logits", stored["seq.logits"], logits, 2e-5)
    for i, state in enumerate(h):
        largest_difference(model, f"h.{i}", stored[f"h.{i}"], state, 1e-5)
    for key, n in (("idn_n2_K1_h0", 2), ("idn_n4_K1_h0", 4)):
        worst = max(worst, largest_difference(model, key, stored[cases[key]["logits"]],
                                              whole.one_sweep(tokens, n), 2e-5))
    generated, _ = whole.greedy(numbers(stored["ar.prompt"]), 16)
    if generated != cases["ar_seq"]["generated"]:
        sys.exit(f"{model}: ar_seq: nanochat.py differs from the reference")
    print(f"{model}: nanochat.py reproduces the reference within {worst:.1e}")


def cut_weights(config, weights):
    out = {}
    for name, (dtype, shape, raw) in weights.items():
        part = name.split(".")
        index = int(part[2]) if name.startswith("transformer.h.") else \
            int(part[1]) if name.startswith("value_embeds.") else 0
        if index >= CUT_LAYERS:
            continue
        if name in ("resid_lambdas", "x0_lambdas"):
            shape, raw = [CUT_LAYERS], raw[:4 * CUT_LAYERS]
        out[name] = (dtype, shape, raw)
    return dict(config, n_layer=CUT_LAYERS), out


def top_margin(rows):
    return min(a - b for a, b in (sorted(row)[:-3:-1] for row in rows))


def cut_model(full, model):
    """The first layers only. States are the reference's; logits and tokens are nanochat.py's."""
    source, folder = full / model, HERE / model
    folder.mkdir(exist_ok=True)
    config = json.loads((source / "config.json").read_text())
    weights = read_tensors(source / "model.safetensors")
    stored = read_tensors(source / "expected.safetensors")
    cases = {case["key"]: case for case in json.loads((source / "cases.json").read_text())["cases"]}
    check_program(model, config, weights, stored, cases)
    config, weights = cut_weights(config, weights)
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    write_tensors(folder / "model.safetensors", weights)
    cut, tokens = model_of(config, weights), numbers(stored["tokens"])
    _, h, logits = cut.sequential(tokens)
    for i, state in enumerate(h):
        largest_difference(model, f"h.{i} of the cut model", stored[f"h.{i}"], state, 1e-5)
    generated, rows = cut.greedy(numbers(stored["ar.prompt"]), 16)
    expected = {name: stored[name] for name in ("tokens", "ar.prompt", "x0", "h.0", "h.1")}
    expected |= {"seq.logits": f32(logits), "ar_seq.logits": f32(rows),
                 "idn_n2_K1_h0.logits": f32(cut.one_sweep(tokens, 2))}
    write_tensors(folder / "expected.safetensors", expected)
    common = {"applies": True, "made_by": CUT_FROM}
    write_cases(folder, model, f"the first {CUT_LAYERS} layers of the reference's model; see ../README.md", [
        {"key": "seq", "method": "sequential", "plan": "", "tokens": "tokens",
         "logits": "seq.logits", **common},
        {"key": "ar_seq", "method": "AR sequential", "plan": "", "prompt": "ar.prompt",
         "generated": generated, "logits": "ar_seq.logits", "min_top1_margin": top_margin(rows), **common},
        {"key": "idn_n2_K1_h0", "method": "IDN_batched", "plan": "n2 K1 h0", "tokens": "tokens",
         "logits": "idn_n2_K1_h0.logits", **common},
        {"key": "idn_n2_K2_h0", "method": "IDN_batched", "plan": "n2 K2 h0", "tokens": "tokens",
         "logits": "seq.logits", **common}])


def main():
    full = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else HERE.parents[2] / "shared" / "golden"
    if not full.is_dir():
        sys.exit(f"the full reference set is not at {full}: give its folder as the argument")
    for model in WHOLE:
        copy_whole(full, model)
    for model in CUT:
        cut_model(full, model)
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
