#!/usr/bin/env python3
"""How weights are stored changes nothing, or as much as the format says: shards, source types, --weights.

The bound of a rounded format. A weight w is stored as w (1 + e), |e| <= u, with u = 2^-8 for bf16 (8
significant bits) and 2^-11 for f16; the rounding errors of different weights are independent of each
other. A product W x then has the relative error of one weight, |e| about u / 2 in the mean square, not
more with more inputs. A block has two products in a row that end in the residual stream, embedding and head
one each: R = 2 L + 2 roundings whose errors add up like independent numbers, to (u / 2) sqrt(R) times the
size of the logits. What nonlinear functions amplify is left a factor of 2; single elements lie within
six times the mean. With bf16 matrices activations are rounded to bf16 before they are multiplied: as many
roundings again; with f16 they stay f32.
"""
import json
import math
import pathlib
import re
import shutil
import struct
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from program import (DATA, LOGITS_LIMIT, SCRATCH, Golden, check, close, compile_model,  # noqa: E402
                     SNLPC, generate, logits, main, numbers, raw_numbers, read_tensors, run,
                     write_tensors)

UNIT = {"bf16": 2.0 ** -8, "f16": 2.0 ** -11}
INDEX = "model.safetensors.index.json"


# ---- rounding, worked out here and not by the product -------------------------------------------------

def to_bf16(raw):
    """f32 bytes to bf16 bytes, nearest even."""
    out = []
    for bits in numbers(raw, "I"):
        check(bits & 0x7f800000 != 0x7f800000, "a weight is not finite")
        out.append((bits + 0x7fff + (bits >> 16 & 1)) >> 16)
    return raw_numbers(out, "H")


def to_f16(raw):
    values = numbers(raw)
    return struct.pack(f"<{len(values)}e", *values)  # nearest even


def from_bf16(raw):
    return raw_numbers((bits << 16 for bits in numbers(raw, "H")), "I")


def from_f16(raw):
    return raw_numbers(struct.unpack(f"<{len(raw) // 2}e", raw))


CAST = {"bf16": (to_bf16, from_bf16, "BF16"), "f16": (to_f16, from_f16, "F16")}


def model_folder(source, name, tensors=None):
    """A copy of a model folder's configuration, with other weights."""
    folder = SCRATCH / name
    folder.mkdir(exist_ok=True)
    shutil.copyfile(source / "config.json", folder / "config.json")
    if tensors:
        write_tensors(folder / "model.safetensors", tensors)
    return folder


def cast_folders(source, format_):
    """Two folders with the same rounded numbers: stored in the format, and in f32."""
    down, up, dtype = CAST[format_]
    small, wide = {}, {}
    for name, (_, shape, raw) in read_tensors(source / "model.safetensors").items():
        rounded = down(raw)
        small[name], wide[name] = (dtype, shape, rounded), ("F32", shape, up(rounded))
    stem = f"{source.name}-{format_}"
    return model_folder(source, stem, small), model_folder(source, stem + "-wide", wide)


# ---- shards -------------------------------------------------------------------------------------------

def write_shards(source, name):
    """The same tensors in three files, not in order, beside files that are nobody's business."""
    folder = model_folder(source, name)
    tensors = read_tensors(source / "model.safetensors")
    files = {f"model-{i + 1:05}-of-00003.safetensors": {} for i in range(3)}
    where = {}
    for i, (tensor, value) in enumerate(sorted(tensors.items(), key=lambda item: item[0][::-1])):
        file = list(files)[i % 3]
        files[file][tensor] = value
        where[tensor] = file
    for file, part in files.items():
        write_tensors(folder / file, part)
    (folder / INDEX).write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": where}))
    (folder / "consolidated.safetensors").write_bytes(b"not a safetensors file")
    (folder / "README.md").write_text("notes\n")
    return folder


def sharded():
    source = DATA / "llama"
    ids = Golden(source).ids(Golden(source).cases["seq"], "tokens")
    whole = compile_model(source, "whole")
    shards = compile_model(write_shards(source, "shards"), "sharded")
    check(logits(whole, ids) == logits(shards, ids), "re-sharded: the logits are not bit-equal")
    check(generate(whole, ids[:5], 8) == generate(shards, ids[:5], 8), "re-sharded: other ids")


# ---- rounded formats ------------------------------------------------------------------------------------

def check_bound(what, found, wanted, unit, roundings):
    scale = math.sqrt(sum(x * x for x in wanted) / len(wanted))
    expected = unit / 2 * math.sqrt(roundings) * scale
    errors = [a - b for a, b in zip(found, wanted, strict=True)]
    mean = math.sqrt(sum(e * e for e in errors) / len(errors))
    check(mean <= 2 * expected, f"{what}: error {mean:.3g} in the mean square, wanted at most {2 * expected:.3g}")
    check(mean >= expected / 20, f"{what}: error {mean:.3g}: nothing seems to be rounded")
    worst = max(map(abs, errors))
    check(worst <= 12 * expected, f"{what}: error {worst:.3g}, wanted at most {12 * expected:.3g}")
    return f"{mean / expected:.2f} of the expected error"


def rounded(model, format_):
    golden = Golden(DATA / model)
    config = json.loads((golden.model / "config.json").read_text())
    roundings = 2 * (config.get("num_hidden_layers") or config["n_layer"]) + 2
    ids, wanted = golden.ids(golden.cases["seq"], "tokens"), golden.tensor(golden.cases["seq"]["logits"])
    small, wide = cast_folders(golden.model, format_)
    f32 = ("--kv", "f32")  # the caches have tests of their own
    stored = compile_model(small, f"{model}-{format_}-stored", *f32)
    exact = compile_model(wide, f"{model}-{format_}-exact")
    chosen = compile_model(golden.model, f"{model}-{format_}-chosen", "--weights", format_, *f32)
    widened = compile_model(small, f"{model}-{format_}-widened", "--weights", "f32", *f32)
    reference = numbers(logits(exact, ids))
    for block in "1", "7", "64":
        same = [widened]
        if format_ == "bf16":
            check_bound(f"{stored.name} --block {block}", numbers(logits(stored, ids, "--block", block)), reference,
                        UNIT[format_], roundings)
        else:
            same.append(stored)
        for program in same:
            close(f"{program.name} --block {block}", numbers(logits(program, ids, "--block", block)), reference,
                  LOGITS_LIMIT)
    size = stored.stat().st_size, exact.stat().st_size
    check(size[0] <= size[1], f"{stored.name}: {size[0]} bytes, in f32 {size[1]}")
    both = roundings * (2 if format_ == "bf16" else 1)
    return check_bound(chosen.name, numbers(logits(chosen, ids)), wanted, UNIT[format_], both)


# ---- a format of its own for the logits' matrix -------------------------------------------------------

def emitted(model, *options):
    return run([SNLPC, "compile", model, "--emit", "ir", *options]).stdout.decode()


def snl_file(model):
    """A .snl file of a folder, beside a copy of its weights."""
    folder = SCRATCH / f"{model}-text"
    folder.mkdir()
    shutil.copyfile(DATA / model / "model.safetensors", folder / "model.safetensors")
    path = folder / "model.snl"
    path.write_text(emitted(DATA / model, "--pipeline", ""))
    return path


def own_head(model, head):
    """`head`: the name of the logits' matrix in the IR; for a tied model the embedding."""
    formats = "--weights", "q4_0", "--weights-head", "q8_0"
    text = emitted(DATA / model, *formats)
    check(re.search(rf"^weight @{head}[.\w]* : q8_0", text, re.M), f"{head} is not stored in q8_0:\n{text}")
    check(re.search(r"^weight @l0.wdown.q4_0 : q4_0", text, re.M), "other matrices are not stored in q4_0")
    text_model = snl_file(model)
    for tokens in "1", "5":
        run([SNLPC, "run", text_model, "forward", "--compare", "--tokens", tokens, *formats])
    program = compile_model(DATA / model, f"{model}-own-head", *formats)
    about = json.loads(run([program, "--about", "--json"]).stdout)
    check(about["weight_format"] == "q4_0, head q8_0", about["weight_format"])
    sizes = [json.loads(run([compile_model(DATA / model, f"{model}-{f}", "--weights", f), "--about", "--json"]).stdout)
             ["weight_bytes"] for f in ("q4_0", "q8_0")]
    check(sizes[0] < about["weight_bytes"] < sizes[1], f"{about['weight_bytes']} bytes, alone {sizes}")


ROW = re.compile(r"^    (\S.*?) +(\d+)  (f32|bf16|f16|q8_0|q4_0) +([\d.]+ \w+) +(exact|[\d.]+ %)", re.M)


def the_summary_names_errors():
    """By class: count, format, size, relative error; with --tensors every tensor; with -q nothing."""
    command = [SNLPC, "compile", DATA / "llama", "-o", SCRATCH / "errors", "--cpu", "native", "--weights", "q4_0",
               "--weights-head", "bf16"]
    text = run(command).stderr.decode()
    rows = {name: rest for name, *rest in ROW.findall(text)}
    check(len(rows) == 7 and "head.norm (logits)" in rows, f"classes: {rows}\n{text}")
    for name, (count, format_, _, error) in rows.items():
        head = "head" in name
        check(format_ == ("bf16" if head else "q4_0"), f"{name}: {format_}")
        check(int(count) == (6 if name.startswith("l*.") else 1), f"{name}: {count} tensors")
        least, most = (0.1, 0.3) if head else (4, 15)
        check(least <= float(error[:-2]) <= most, f"{name}: error {error}")
    listed = run([*command, "--tensors"]).stderr.decode()
    lines = re.findall(r"^    (\S+) +(\d+) x (\d+) +(\S+) +(\d+) +(exact|[\d.]+ %)$", listed, re.M)
    about = json.loads(run([SCRATCH / "errors", "--about", "--json"]).stdout)
    check(sum(int(line[4]) for line in lines) == about["weight_bytes"], listed)
    check(["l3.wdown", "48", "80", "q4_0"] in [list(line[:4]) for line in lines], listed)
    check("l3.wdown" not in text.replace("worst l3.wdown", ""), text)
    check(run([*command, "-q", "--tensors"]).stderr == b"", "-q is not quiet")


def numbers_beyond_a_format():
    """A weight of 70000: too large for f16; bf16 and the blocks hold it."""
    tensors = read_tensors(DATA / "llama" / "model.safetensors")
    name = "model.layers.1.mlp.down_proj.weight"
    dtype, shape, raw = tensors[name]
    values = numbers(raw)
    values[3 * shape[1] + 7] = 70000.0
    folder = model_folder(DATA / "llama", "large", {**tensors, name: (dtype, shape, raw_numbers(values))})
    for format_ in "f32", "bf16", "q8_0", "q4_0":
        compile_model(folder, "large-out", "--weights", format_)
    done = run([SNLPC, "compile", folder, "-o", SCRATCH / "none", "--cpu", "native", "--weights", "f16"], code=1)
    place = b"weight '@l1.wdown' (tensor 'model.layers.1.mlp.down_proj.weight' of 'model.safetensors'), row 3, column 7: "
    check(place + b"found 70000, wanted numbers within 65504" in done.stderr, done.stderr)
    values[3 * shape[1] + 7] = math.nan
    folder = model_folder(DATA / "llama", "nan", {**tensors, name: (dtype, shape, raw_numbers(values))})
    for format_ in "f32", "bf16", "f16", "q8_0", "q4_0":
        done = run([SNLPC, "compile", folder, "-o", SCRATCH / "none", "--cpu", "native", "--weights", format_], code=1)
        check(place + b"found nan, wanted a finite number: the file is damaged" in done.stderr, done.stderr)
    check(not (SCRATCH / "none").exists(), "a refused model leaves a program")


def head_as_stored():
    """A norm's weight is not folded into a matrix that keeps its narrow format."""
    small, _ = cast_folders(DATA / "llama", "bf16")
    text = emitted(small, "--weights", "f32", "--weights-head", "source")
    check(re.search(r"linear %\S+, @head\b[^.]", text), "the head is not the file's")
    check("weight @head.norm" in emitted(small, "--weights", "f32"), "the norm is not folded into an f32 head")
    same = emitted(small, "--weights", "f32", "--weights-head", "f32")
    check(same == emitted(small, "--weights", "f32"), "the same format given twice is another program")


def with_dtype(folder, name):
    """The folder, its configuration saying in which format the weights are."""
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "torch_dtype": name}))
    return folder


def random_as_files(model, format_, name):
    """Random weights are stored as files of the configuration's format are, norms folded or not."""
    for folder, dtype in zip(cast_folders(DATA / model, format_), (name, "float32"), strict=True):
        with_dtype(folder, dtype)
        for formats in ((), ("--weights", "f32"), ("--weights", format_), ("--weights", "q8_0")):
            found, wanted = emitted(folder, "--random-weights", "1", *formats), emitted(folder, *formats)
            check(found == wanted, f"{folder.name} {formats}: files:\n{wanted}\nrandom:\n{found}")
            folded = ".ffn_norm : f32" in found
            check(folded == (dtype == "float32" or formats[1:] in (("f32",), ("q8_0",))), f"folded: {folded}\n{found}")


main([("re-sharded", sharded), ("own head", own_head, "llama", "head"), ("own head, tied", own_head, "qwen3", "embed"),
      ("head as stored", head_as_stored), ("random bf16", random_as_files, "qwen2", "bf16", "bfloat16"),
      ("random f16", random_as_files, "llama", "f16", "float16"), ("errors in the summary", the_summary_names_errors),
      ("numbers beyond a format", numbers_beyond_a_format)] +
     [(f"{model} in {format_}", rounded, model, format_)
      for model, format_ in (("llama", "bf16"), ("llama", "f16"), ("qwen3", "bf16"), ("qwen2", "f16"),
                             ("nanochat-win", "bf16"))])
