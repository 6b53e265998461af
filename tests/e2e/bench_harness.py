#!/usr/bin/env python3
"""tests/bench works: the written models carry the same numbers in every form, and bench.py runs its
contestants, keeps rounds, and says what is wrong with its options. No figure is judged."""
import json
import os
import pathlib
import signal
import struct
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "support"), str(HERE.parent / "bench")]
sys.dont_write_bytecode = True
from program import SCRATCH, SNLPC, check, main, read_tensors, run, skip  # noqa: E402

try:
    import numpy as np
except ImportError:
    skip("no numpy (python3-numpy)")
import bench as harness  # noqa: E402
import make_models  # noqa: E402
import roofline  # noqa: E402
from shapes import SHAPES, peer_shape  # noqa: E402

TINY = SHAPES["tiny"]
WORK = SCRATCH / "bench"
BENCH = HERE.parent / "bench" / "bench.py"
LIMITS = pathlib.Path(os.environ["SNL_BUILD"]) / "tests" / "bench_limits"


# ---- GGUF read back, written from the format's description ---------------------------------------------

class Reader:
    """Fields {key: value} and tensors {name: (dims, type, offset)} of a GGUF file."""

    SCALARS = {4: "I", 5: "i", 6: "f"}

    def __init__(self, path):
        self.raw, self.at = pathlib.Path(path).read_bytes(), 0
        magic, version, n_tensors, n_fields = self.take("4sIQQ")
        check((magic, version) == (b"GGUF", 3), f"{path}: magic {magic}, version {version}")
        self.fields = dict((self.text(), self.value(*self.take("I"))) for _ in range(n_fields))
        self.tensors = {}
        for _ in range(n_tensors):
            name = self.text()
            dims = self.take(f"{self.take('I')[0]}Q")
            self.tensors[name] = (dims[::-1], *self.take("IQ"))
        self.start = (self.at + 31) // 32 * 32

    def take(self, form):
        values = struct.unpack_from("<" + form, self.raw, self.at)
        self.at += struct.calcsize("<" + form)
        return values

    def text(self):
        n, = self.take("Q")
        self.at += n
        return self.raw[self.at - n:self.at].decode()

    def value(self, kind):
        if kind == 8:
            return self.text()
        if kind == 9:
            kind, n = self.take("IQ")
            return [self.value(kind) for _ in range(n)]
        return self.take(self.SCALARS[kind])[0]

    def bytes_of(self, name, dtype, n):
        return np.frombuffer(self.raw, dtype, n, self.start + self.tensors[name][2])

    def numbers(self, name):
        """(values, largest rounding error that the format allows for each)"""
        dims, kind, _ = self.tensors[name]
        n = int(np.prod(dims))
        if kind == 0:
            return self.bytes_of(name, "<f4", n).reshape(dims), 0
        if kind == 30:
            bits = self.bytes_of(name, "<u2", n).astype(np.uint32) << 16
            values = bits.view(np.float32).reshape(dims)
            return values, np.abs(values) * 2.0 ** -8
        blocks = self.bytes_of(name, "u1", n // 32 * {8: 34, 2: 18}[kind]).reshape(n // 32, -1)
        d = blocks[:, :2].copy().view("<f2").astype(np.float32)
        if kind == 8:
            q, half = blocks[:, 2:].view(np.int8).astype(np.float32), 0.51
        else:
            q = np.concatenate([blocks[:, 2:] & 15, blocks[:, 2:] >> 4], axis=1).astype(np.float32) - 8
            half = 1.01  # the end of the scale without a number of its own is one step away
        values = (q * d).reshape(dims)
        return values, np.repeat(np.abs(d) * half + 127 * np.abs(d) * 2.0 ** -11, 32, axis=1).reshape(dims)


def unpaired(w, heads):
    """Rows (2j, 2j + 1) of each head back to (j, j + d/2)."""
    d = w.shape[0] // heads
    order = [h * d + j for h in range(heads) for j in [*range(0, d, 2), *range(1, d, 2)]]
    return w[order]


NAMES = {"attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
         "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
         "ffn_down": "mlp.down_proj", "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm"}


def folder_name(name):
    fixed = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
    parts = name.split(".")
    if parts[0] == "blk":
        return f"model.layers.{parts[1]}.{NAMES[parts[2]]}.weight"
    return fixed[parts[0]] + ".weight"


def folder_tensors():
    folder = make_models.make_folder(TINY, WORK)
    return {name: np.frombuffer(raw, "<f4").reshape(dims)
            for name, (_, dims, raw) in read_tensors(folder / "model.safetensors").items()}


def gguf_carries_the_folder(kind):
    folder, file = folder_tensors(), Reader(make_models.make_gguf(TINY, WORK, kind))
    check(len(file.tensors) == len(folder), f"{len(file.tensors)} tensors, wanted {len(folder)}")
    for name in file.tensors:
        found, limit = file.numbers(name)
        heads = {"attn_q": TINY.heads, "attn_k": TINY.kv_heads}.get(name.split(".")[-2])
        if heads:
            found, limit = unpaired(found, heads), unpaired(np.broadcast_to(limit, found.shape), heads)
        wanted = folder[folder_name(name)]
        check(found.shape == wanted.shape, f"{name}: {found.shape}, wanted {wanted.shape}")
        check((np.abs(found - wanted) <= limit).all(), f"{name}: other numbers than the folder's")
    check(file.fields["llama.block_count"] == TINY.layers, "block_count")
    check(len(file.fields["tokenizer.ggml.tokens"]) == TINY.vocab, "tokens")


def head_of_q4_0_is_q8_0():
    file = Reader(make_models.make_gguf(TINY, WORK, "q4_0"))
    kinds = {name: file.tensors[name][1] for name in ("output.weight", "blk.0.ffn_up.weight")}
    check(kinds == {"output.weight": 8, "blk.0.ffn_up.weight": 2}, f"formats {kinds}")


def llama2c_carries_the_folder():
    path, _ = make_models.make_llama2c(TINY, WORK)
    raw, folder = path.read_bytes(), folder_tensors()
    head = struct.unpack_from("<7i", raw)
    check(head == (TINY.width, TINY.ffn, TINY.layers, TINY.heads, TINY.kv_heads, -TINY.vocab, TINY.context),
          f"header {head}")
    embedding = np.frombuffer(raw, "<f4", TINY.vocab * TINY.width, 28)
    check((embedding == folder["model.embed_tokens.weight"].ravel()).all(), "embedding")
    output = np.frombuffer(raw, "<f4")[-TINY.vocab * TINY.width:]
    check((output == folder["lm_head.weight"].ravel()).all(), "output matrix")


def shapes_count_what_is_asked():
    half = SHAPES["0.5B"]
    check(round((half.layer_weights() + half.head_weights()) / 1e6) == 178, "weights per token of 0.5B")
    check(peer_shape(half).ffn == 1728, f"gated FFN of {peer_shape(half).ffn}, wanted 1728")


# ---- bench.py ------------------------------------------------------------------------------------------

def script(name, text):
    path = SCRATCH / name
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return path


def llama_bench():
    """Says what a llama-bench says, of any model."""
    tests = [{"n_prompt": 64, "n_gen": 0, "avg_ts": 1000.5, "build_commit": "abc", "build_number": 7},
             {"n_prompt": 0, "n_gen": 64, "avg_ts": 50.25, "build_commit": "abc", "build_number": 7}]
    reads = 'for word; do case "$word" in *.gguf) [ -r "$word" ] || exit 1;; esac; done'
    return script("llama-bench", f"{reads}\necho '{json.dumps(tests)}'\n")


def bench(*options, code=0):
    return run([sys.executable, BENCH, "--snlpc", SNLPC, "--limits", LIMITS, "--work", WORK, *options], code=code)


def rounds_are_measured_and_kept():
    log = SCRATCH / "rounds.jsonl"
    peer, run_c = llama_bench(), script("run", "echo 'achieved tok/s: 40.0' >&2\n")
    text = bench("--shape", "tiny", "--format", "f32", "--threads", "1", "--rounds", "2", "--plan", "n1 K1",
                 "--program-options=--huge-pages",
                 "--peer-llama-bench", f"one={peer}", "--peer-llama-bench", f"two={peer} -rtr 1",
                 "--peer-llama2c", run_c, "--log", log).stdout.decode()
    for wanted in ("tiny f32, head f32, 1T: 2 rounds", "snlpc seq / one:", "snlpc seq / two:", "snlpc seq / run:",
                   "snlpc n1 K1 / snlpc seq:", "snlpc seq --huge-pages / snlpc seq:", "1T --huge-pages |",
                   "barriers per token", ", waiting there ", "of limit", "abc (7)", "reader of"):
        check(wanted in text, f"no {wanted!r} in:\n{text}")
    rounds = [json.loads(line) for line in log.read_text().splitlines()]
    check(len(rounds) == 2 and rounds[0]["found"]["one"]["decode"] == 50.25, f"rounds {rounds}")
    again = run([sys.executable, BENCH, "--report", log]).stdout.decode()
    check(again.strip() == text.strip(), f"--report says something else:\n{again}\n{text}")


def programs_choose_their_threads():
    log = SCRATCH / "auto.jsonl"
    text = bench("--shape", "tiny", "--format", "f32", "--threads", "1,auto", "--rounds", "1", "--busy", "1",
                 "--peer-llama-bench", llama_bench(), "--log", log).stdout.decode()
    for wanted in ("tiny f32, head f32, 1T beside 1 busy: ", "tiny f32, head f32, auto beside 1 busy: ",
                   "snlpc seq -t 1 / snlpc seq:", "snlpc seq: threads chosen for decode: "):
        check(wanted in text, f"no {wanted!r} in:\n{text}")
    one, auto = [json.loads(line) for line in log.read_text().splitlines()]
    check((one["threads"], auto["threads"], auto["busy"]) == (1, "auto", 1), f"rounds {one}, {auto}")
    check("snlpc seq -t 1" in auto["found"] and "snlpc seq -t 1" not in one["found"], f"contestants {auto['found']}")
    check(auto["found"]["snlpc seq -t 1"]["threads"] == 1, f"{auto['found']}")


def is_alive(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def busy_neighbours_end():
    """With the block, however it is left; and with the harness, even when that is killed."""
    with harness.busy(2) as neighbours:
        check([n.poll() for n in neighbours] == [None, None], "they ended by themselves")
    check(all(n.poll() is not None for n in neighbours), "they outlived the block")
    try:
        with harness.busy(1) as neighbours:
            raise KeyError
    except KeyError:
        check(neighbours[0].poll() is not None, "it outlived an exception")
    code = ("import sys, time, bench\nwith bench.busy(1) as n:\n"
            "    print(n[0].pid, flush=True)\n    time.sleep(600)")
    owner = subprocess.Popen([sys.executable, "-B", "-c", code], cwd=BENCH.parent, stdout=subprocess.PIPE)
    pid = int(owner.stdout.readline())
    check(is_alive(pid), "no neighbour")
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    for _ in range(600):
        if not is_alive(pid):
            return
        time.sleep(0.1)
    check(False, f"neighbour {pid} outlived the harness")


# ---- roofline.py ---------------------------------------------------------------------------------------

def stage(ops, rows, us, nbytes, flops, attention=0, dot="f32"):
    return {"ops": ops, "rows": rows, "us": us, "waiting_us": us / 10, "weight_bytes": nbytes, "cache_bytes": 0,
            "flops": flops, "attention_flops": attention, "dot": dot}


def limits_are_the_larger_of_bytes_and_products():
    samples = [{"read": read, "f32": 100.0, "bf16": None, "int8": 400.0} for read in (8.0, 12.0)]
    limits = roofline.Limits(samples, "DRAM")
    for one, wanted in ((stage("", 1, 1, 50000, 400000, 0, "int8"), (5, "DRAM")),
                        (stage("", 1, 1, 50000, 4000000, 0, "int8"), (10, "int8")),
                        (stage("", 1, 1, 0, 600000, 200000, "int8"), (3, "f32")),
                        (stage("", 1, 1, 0, 600000, 0, "bf16"), (6, "bf16")),
                        (stage("", 1, 1, 10000, 200000, 200000, None), (2, "f32")),
                        (stage("", 1, 1, 10000, 0, 0, None), (1, "DRAM"))):
        found = limits.microseconds(one)
        check(abs(found[0] - wanted[0]) < 1e-9 and found[1] == wanted[1], f"{one}: {found}, wanted {wanted}")
    rows = roofline.rows_of([stage("a", 8, 10, 10000, 0), stage("b", 8, 5, 0, 0), stage("a", 8, 20, 20000, 0),
                             stage("a", 1, 40, 40000, 0)], limits, 4)
    check([(r["ops"], r["count"], r["us"], round(r["limit"], 6), r["by"]) for r in rows] ==
          [("a", 8, 120, 12, "DRAM"), ("b", 4, 20, 0, ""), ("last token alone", 1, 40, 4, "DRAM"),
           ("all", 13, 180, 16, "")], f"{rows}")


def roof(*options, code=0):
    program = BENCH.parent / "roofline.py"
    return run([sys.executable, program, "--snlpc", SNLPC, "--limits", LIMITS, "--work", WORK, *options], code=code)


def stages_stand_beside_their_limits():
    page = SCRATCH / "page.md"
    page.write_text("before\n<!-- tiny q8_0 -->\nold\n<!-- end -->\nbetween\n<!-- tiny f32 -->\n<!-- end -->\nafter\n")
    said = roof("--shape", "tiny", "--format", "q8_0", "--rounds", "1", "--update", page).stdout.decode()
    for wanted in ("## tiny q8_0", "**decode at position 63**, 2 threads: ", "**prefill of 64 tokens in blocks of ",
                   ", linear 320x64 q8_0 | 1 | ", "| last token alone | ", "| all | ", "Reader "):
        check(wanted in said, f"no {wanted!r} in:\n{said}")
    text = page.read_text()
    check("old" not in text and said.split("\n", 2)[2].strip() in text, text)
    check(text.startswith("before\n<!-- tiny q8_0 -->\n**decode") and text.endswith(
        "<!-- end -->\nbetween\n<!-- tiny f32 -->\n<!-- end -->\nafter\n"), text)
    plan = roof("--shape", "tiny", "--format", "f32", "--rounds", "1", "--threads", "1", "--plan", "n1 K1",
                "--cold").stdout.decode()
    check("## tiny f32 n1 K1" in plan and "1 thread, cold: " in plan and "(DRAM)" in plan, plan)
    for options, wanted in (
            (("--shape", "7B"), "--shape: found '7B', wanted some of tiny"),
            (("--format", "q9"), "--format: found 'q9', wanted some of f32"),
            (("--threads", "0"), "--threads: found 0, wanted 1 or more"),
            (("--pos", "-1"), "--pos: found -1, wanted 0 or more"),
            (("--rounds", "0"), "--rounds: found 0, wanted 1 or more"),
            (("--update", "/none"), "--update: found no file /none"),
            (("--shape", "tiny", "--format", "bf16", "--rounds", "1", "--update", page),
             "found no place for tiny bf16")):
        said = roof(*options, code=1).stderr.decode()
        check(said.startswith("roofline.py: ") and wanted in said, f"{options}: {said}")


def nanochat_folders_compile():
    run([SNLPC, "compile", make_models.make_folder(TINY._replace(
        name="tiny-nanochat", family="nanochat", ffn=4 * TINY.width, value_embeds=True), WORK),
        "-o", SCRATCH / "nanochat", "-q", "--cpu", "native", "--weights", "q8_0"])


def blocks_that_peers_lack_are_named():
    text = bench("--shape", "260K", "--format", "q8_0", "--threads", "1", "--prepare",
                 "--peer-llama-bench", llama_bench()).stdout.decode()
    check("without llama-bench: rows are no whole blocks of 32" in text, text)


def mistakes_are_named():
    peer = llama_bench()
    broken = script("broken", "echo 'no such model' >&2; exit 4\n")
    logs = {}
    for name, text in ("list", "[]"), ("short", '{"shape": "15M"}'), ("text", "15M"):
        logs[name] = SCRATCH / f"{name}.jsonl"
        logs[name].write_text(text)
    few = ("--shape", "tiny", "--format", "f32", "--threads", "1", "--rounds", "1")
    for options, wanted in (
            (("--shape", "7B"), "--shape: found '7B', wanted some of tiny, 260K"),
            (("--format", "q9"), "--format: found 'q9', wanted some of f32, bf16"),
            (("--threads", "0"), "--threads: found '0', wanted numbers of 1 or more or auto"),
            (("--threads", "auto,some"), "--threads: found 'auto,some', wanted numbers"),
            (("--busy", "-1"), "--busy: found -1, wanted 0 or more"),
            (("--rounds", "0"), "--rounds: found 0, wanted 1 or more"),
            (("--snlpc", "/none"), "--snlpc: found /none, wanted the compiler"),
            (("--limits", "/none"), "--limits: found no program /none"),
            (("--report", "/none"), "--report /none: "),
            (("--report", logs["list"]), "list.jsonl:1: no 'shape' found; wanted what --log has written"),
            (("--report", logs["short"]), "short.jsonl:1: no 'format' found"),
            (("--report", logs["text"]), "wanted what --log has written"),
            ((*few, "--peer-llama-bench", "/none"), "peer: found '/none', wanted [NAME=]PROGRAM"),
            ((*few, "--peer-llama-bench", peer, "--peer-llama-bench", peer), "wanted each once"),
            ((*few, "--peer-llama-bench", broken), "ended with 4: no such model")):
        said = bench(*options, code=1).stderr.decode()
        check(wanted in said and "Traceback" not in said, f"{options}: {said}")


def limits_say_a_number():
    for argv in (("read", 1 << 20, 2, 0.01, "4k"), ("f32", 1, 0.01)):
        check(float(run([LIMITS, *argv]).stdout) > 0, f"{argv}")
    for argv, wanted in ((("read", 10, 1, 1, "4k"), "BYTES: found 10"), (("read", 1 << 20, 1, 1, "2k"), "pages: found 2k"),
                         (("f32", 0, 1), "THREADS: found 0"), (("f32", 1, "x"), "SECONDS: found x"), ((), "usage:")):
        said = run([LIMITS, *argv], code=2).stderr.decode()
        check(wanted in said, f"{argv}: {said}")


main([*((f"{kind}.gguf carries the folder", gguf_carries_the_folder, kind) for kind in ("f32", "bf16", "q8_0", "q4_0")),
      head_of_q4_0_is_q8_0, llama2c_carries_the_folder, shapes_count_what_is_asked, nanochat_folders_compile,
      rounds_are_measured_and_kept, programs_choose_their_threads, busy_neighbours_end,
      limits_are_the_larger_of_bytes_and_products, stages_stand_beside_their_limits,
      blocks_that_peers_lack_are_named, mistakes_are_named, limits_say_a_number])
