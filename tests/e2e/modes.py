#!/usr/bin/env python3
"""Several graphs in one program: names and defaults, one set of weights, code of each graph, what --about
and the summary say, and what is refused."""
import json
import math
import pathlib
import struct
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from program import (DATA, EXAMPLE, SCRATCH, SNLPC, check, close, generate, logits, main,  # noqa: E402
                     numbers, run)
import program as support  # noqa: E402

MOST_CODE = 256 * 1024  # bytes of code that one more graph may cost
IDS = [10, 32, 65, 90, 7, 7, 101, 3]


def compile_model(model, name, *options):
    """With caches of f32, for which the laws hold to the last bits."""
    if "--kv" not in options:
        options = ("--kv", "f32", *options)
    return support.compile_model(model, name, "--cpu", "native", *options)  # one level of code is enough


def about(program):
    return json.loads(run([program, "--about", "--json"]).stdout)


def fails(code, message, *options, model=EXAMPLE):
    path = SCRATCH / "refused"
    done = run([SNLPC, "compile", model, "-o", path, "--cpu", "native", *options], code=code)
    text = done.stderr.decode()
    check(message in text, f"{options}: no '{message}' in: {text}")
    check(not path.exists(), f"{options}: left a file behind")


def both_modes_are_what_they_would_be_alone():
    both = compile_model(EXAMPLE, "both", "--plan", "n12 K1 h0", "--modes", "seq,snlp")
    seq = compile_model(EXAMPLE, "seq")
    snlp = compile_model(EXAMPLE, "snlp", "--plan", "n12 K1 h0")
    for mode, alone in (("seq", seq), ("snlp", snlp)):
        for options in (("-t", "2"), ("-t", "1", "--block", "1"), ("-t", "2", "--block", "3")):
            close(f"{mode} {options}", numbers(logits(both, IDS, "--mode", mode, *options)),
                  numbers(logits(alone, IDS, *options)), 1e-5)
        wanted = generate(alone, IDS, 20)
        check(generate(both, IDS, 20, "--mode", mode) == wanted, f"{mode}: other tokens than alone")
    check(generate(both, IDS, 20) == generate(snlp, IDS, 20), "the first plan is not the default")
    check(generate(both, IDS, 40) != generate(both, IDS, 40, "--mode", "seq"), "the modes do not differ")
    failed = run([both, "--mode", "slow", "--ids", "1"], code=2).stderr.decode()
    check("found 'slow', this program has: snlp, seq" in failed, failed)


def exact_plans_equal_the_sequential_graph():
    plans = {"K": "n16 K=exact", "bf": "n4 K3 batch_fwd", "two": "[2:5] K3; [8:12] K9 damping=0.5",
             "zero": "n3 K3 surrogate=zero", "one": "n4 4xF1 K4", "cache": "n3 K=exact prefill=seq",
             "fix": "n3 K3 prefill=seq kv=corrected"}
    options = [word for name, plan in plans.items() for word in ("--plan", f"{name}={plan}")]
    program = compile_model(EXAMPLE, "exact", "--weights", "f32", "--plan", "seq", *options)
    wanted = numbers(logits(program, IDS, "--mode", "seq", n=10))
    limit = 1e-5 * max(abs(x) for x in wanted)
    for name, plan in plans.items():
        for block in ("64", "1", "3"):
            close(f"{plan}, block {block}", numbers(logits(program, IDS, "--mode", name, "--block", block, n=10)),
                  wanted, limit)
    for mode in about(program)["modes"]:
        check(mode["exactness"] == "exact", f"{mode['plan']}: {mode['exactness']}")


def default_caches_do_not_care_about_blocks():
    plans = ["n12 K1", "n12 K2 batch_fwd", "n8 4xF2 K2", "n8 K2 damping=0.25"]
    options = [word for plan in plans for word in ("--plan", plan)]
    program = compile_model(EXAMPLE, "blocks", "--weights", "f32", *options)
    ids = [(7 * i * i + 3) % 256 for i in range(70)]
    for mode in about(program)["modes"]:
        name = mode["name"]
        wanted = numbers(logits(program, ids, "--mode", name))
        limit = 1e-5 * max(abs(x) for x in wanted)
        for block in ("1", "5", "33", "63"):
            close(f"{mode['plan']}, block {block}",
                  numbers(logits(program, ids, "--mode", name, "--block", block)), wanted, limit)


def weights_are_shared():
    """No weight byte is added, except what a plan itself computes: means of a chunk's small vectors."""
    plans = ["n4 K1", "n4 K2 batch_fwd", "n4 2xF2 K1", "[1:3] 1xF2 K2", "n4 K1 prefill=seq kv=corrected"]
    for name, formats in (("llama", ("f32", "bf16")), ("qwen2", ("f16",)), ("qwen3", ("f32",)),
                          ("nanochat-win", ("bf16",))):
        for weights in formats:
            alone = about(compile_model(DATA / name, "alone", "--weights", weights))["weight_bytes"]
            options = [word for plan in plans for word in ("--plan", plan)]
            found = about(compile_model(DATA / name, "shared", "--weights", weights, "--plan", "seq", *options))
            means = 64 * 8 if name == "nanochat-win" else 0  # x0 blend: factors of a chunk
            check(alone <= found["weight_bytes"] <= alone + means,
                  f"{name} {weights}: {alone} bytes alone, {found['weight_bytes']} with {len(plans)} plans")
            check(len(found["modes"]) == len(plans) + 1, f"{name}: {len(found['modes'])} modes")


def code_bytes(path):
    """Bytes of the sections of a program that hold code and constants, for every level of processors."""
    data = path.read_bytes()
    table, = struct.unpack_from("<Q", data, 0x28)
    entry, count, names = struct.unpack_from("<HHH", data, 0x3a)
    headers = [struct.unpack_from("<IIQQQQ", data, table + i * entry) for i in range(count)]
    text = headers[names][4]
    total = 0
    for name, _, _, _, _, size in headers:
        begin = text + name
        section = data[begin:data.index(b"\0", begin)].decode()
        if section.startswith((".text", ".rodata", ".data.rel.ro")):
            total += size
    return total


def code_of_a_graph_is_small():
    def compiled(*plans):
        options = [word for plan in plans for word in ("--plan", plan)]
        program = support.compile_model(EXAMPLE, "code", *options, levels=True)
        return code_bytes(program), about(program)["weight_bytes"]

    alone, weights = compiled("seq")
    check(alone > MOST_CODE, f"{alone} bytes of code: sections not found")
    notes = []
    for plans in (["n12 K1"], ["n12 K4"], ["n16 K=exact"], ["[2:5] K3; [8:12] K4"],
                  ["n16 K16 batch_fwd prefill=seq kv=corrected"], ["n12 6xF2 K2", "n12 K2 prefill=seq kv=corrected"]):
        more, found = compiled("seq", *plans)
        check(more - alone <= MOST_CODE * len(plans), f"{plans}: {more - alone} bytes of code")
        check(found == weights, f"{plans}: {found} bytes of weights, {weights} without")
        notes.append(f"{' and '.join(plans)}: {(more - alone) // 1024} KiB")
    return ", ".join(notes)


def the_summary_says_what_it_costs():
    path = SCRATCH / "summary"
    text = run([SNLPC, "compile", EXAMPLE, "-o", path, "--cpu", "native", "--plan", "n12  K2"]).stderr.decode()
    for part in ("mode snlp: plan n12 K2 h0", "approximate(newton n=12 K=2)", "6 one after the other",
                 "(sequential: 16)", "27 layer evaluations per token (1.69 x sequential)", "caches   ",
                 "27 of 64.0 KiB", "barriers ", "per decoded token (sequential: ", "imbalance", "of a token's modelled time",
                 "of weights", "MFLOP", "modelled loses", "(not measured:"):
        check(part in text, f"no '{part}' in:\n{text}")
    text = run([SNLPC, "compile", EXAMPLE, "-o", path, "--cpu", "native", "--plan", "n8 4xF2 K1", "--modes",
                "snlp,seq"]).stderr.decode()
    for part in ("mode snlp (default): plan n8 4xF2 K1 h0", "changes-function(fuse-layers 4xF2)",
                 "mode seq: plan seq", "function rounds(a=bf16), rounds(kv=f16)", "16 layers, one after the other"):
        check(part in text, f"no '{part}' in:\n{text}")
    text = run([path, "--about"]).stdout.decode()
    for part in ("n8 4xF2 K1 h0", "changes-function", "caches", "seq"):
        check(part in text, f"--about: no '{part}' in:\n{text}")
    mode = about(path)["modes"][0]
    check(mode["plan"] == "n8 4xF2 K1 h0" and mode["steps"] == 9 and mode["layer_evals"] == 16, str(mode))
    check(mode["state_bytes"] > 0, str(mode))
    text = run([SNLPC, "compile", EXAMPLE, "-o", path, "--cpu", "native", "-q", "--plan", "n2 K1"]).stderr.decode()
    check(text == "", f"--quiet prints {text}")


def the_plan_is_in_the_ir():
    text = run([SNLPC, "compile", EXAMPLE, "--emit", "ir", "--plan", "n2   K1 h0", "--plan",
                "x=[1:2] K1"]).stdout.decode()
    for part in ('plan = "n2 K1 h0"', 'plan = "[1:2] K1 h0"', "func @forward.decode", "func @forward.x.decode"):
        check(part in text, f"no '{part}' in the IR")


def what_cannot_be_is_refused():
    fails(1, "n17 is more than the chain has: 16 layers", "--plan", "n17 K1")
    fails(1, "[4:17] goes beyond the chain, which has 16 layers", "--plan", "[4:17] K1")
    fails(1, "the chunks 3xF2 hold 6 layers, the window 8", "--plan", "n8 3xF2")
    fails(1, "the chunks F(4,3) hold 7 layers, the window 8", "--plan", "n8 F(4,3)")
    fails(1, "needs a model with hyper-connections", "--plan", "n8 surrogate=streams")
    fails(1, "kv=corrected stores keys and values of corrected states", "--plan", "n8 kv=corrected")
    fails(1, "give prefill=seq as well", "--plan", "n8 warm")
    fails(1, "this one begins at layer 3, the one before ends at 4", "--plan", "[2:4] K1; [3:6] K1")
    fails(1, "compat is about fused chunks", "--plan", "n8 K1 compat=reference")
    fails(1, "found 'K0'", "--plan", "n8 K0")
    fails(1, "plan:1:4: error[E0401]", "--plan", "n8 K0")
    fails(2, "found 'slow', wanted some of: snlp, seq", "--plan", "n8", "--modes", "seq,slow")
    fails(2, "two modes are called 'a'", "--plan", "a=n8", "--plan", "a=n4")
    fails(2, "--pipeline: error", "--plan", "n8", "--pipeline", "")
    for format_ in ("--weights", "source"), ("--weights", "q4_0"), ("--weights-head", "q8_0"), ("--kv", "auto"), \
            ("--kv", "f16"):
        fails(2, "takes the place of --weights, --weights-head and --kv", *format_, "--pipeline", "", "--emit", "ir")
    fails(2, "takes the place of --cores", "--cores", "4", "--pipeline", "", "--emit", "ir")
    fails(2, "--max-state: found '0'", "--max-state", "0")
    fails(2, "--max-state: found '3x'", "--max-state", "3x")
    fails(1, "of caches, wanted at most 2.0 MiB", "--plan", "n8 K8", "--max-state", "2M", "--kv", "f32")
    fails(1, "mode 'seq' (plan seq) keeps 2.0 MiB (16 of 128.0 KiB + 1 of 512 bytes)", "--max-state", "1.5M",
          "--kv", "f32")
    for kind in ("ir", "llvm", "obj"):
        fails(1, "of caches, wanted at most 100 bytes", "--plan", "n8", "--max-state", "100", "--emit", kind)
    fails(1, "mode 'snlp' (plan n2 K2 h0) keeps 2.1 MiB", "--max-state", "100", "--emit", "ir", "--pipeline",
          'newton{plan="n2 K2"}')
    compile_model(EXAMPLE, "fits", "--plan", "n8 K1", "--max-state", "2.1M", "--kv", "f32")
    fails(2, "-o: found ''", "-o", "")
    fails(1, "plan:1:1: error[E0401]: plan: found 'prefill=seq' where a window should be", "--plan", "prefill=seq")
    fails(1, "plan:1:5: error[E0401]: plan: found 'n4' after seq, wanted nothing", "--plan", "seq n4")


def write_npy(name, shape, bytes_short=0):
    """Zeros, as NumPy would write them."""
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    path = SCRATCH / name
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
                     + bytes(4 * math.prod(shape) - bytes_short))
    return path


def a_diagonal_that_does_not_fit_is_refused_whatever_is_emitted():
    shapes = {"flat": (512,), "five": (5, 128), "narrow": (4, 64), "thick": (4, 128, 1)}
    for kind in ("ir", "llvm", "obj", "exe"):
        for name, shape in shapes.items():
            path = write_npy(name + ".npy", shape)
            found = ", ".join(map(str, shape))
            fails(1, f"plan:1:17: error[E0401]: plan: '{path}': found [{found}], wanted [4, 128]: a row for every unit",
                  "--emit", kind, "--plan", f"[1:2] K1; n4 K2 surrogate=diag:{path}")
        fails(4, "plan:1:4: error[E0601]: plan: cannot open 'none.npy': No such file", "--emit", kind,
              "--plan", "n8 surrogate=diag:none.npy")
        short = write_npy("short.npy", (4, 128), bytes_short=4)
        fails(1, "plan:1:4: note: the plan names it here", "--emit", kind, "--plan", f"n4 surrogate=diag:{short}")
    fails(1, "wanted identity, streams, zero or diag:FILE.npy", "--plan", "n4 surrogate=diag:rows.txt")
    compile_model(EXAMPLE, "diag", "--plan", f"n4 K2 surrogate=diag:{write_npy('right.npy', (4, 128))}")


if __name__ == "__main__":
    main([both_modes_are_what_they_would_be_alone, exact_plans_equal_the_sequential_graph,
          default_caches_do_not_care_about_blocks, weights_are_shared, code_of_a_graph_is_small,
          the_summary_says_what_it_costs, the_plan_is_in_the_ir, what_cannot_be_is_refused,
          a_diagonal_that_does_not_fit_is_refused_whatever_is_emitted])
