#!/usr/bin/env python3
"""What a compiled program is: one static file that runs anywhere, gives the same numbers with any number of
threads, says clearly what it misses, and is never left half-written."""
import json
import os
import pathlib
import re
import resource
import shutil
import signal
import struct
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from program import (DATA, EXAMPLE, SCRATCH, SNLPC, Golden, check, compile_model, generate,  # noqa: E402
                     ids_text, logits, main, on_terminal, read_tensors, run, write_tensors)

# The 15M shape of the TinyStories models; weights are random numbers.
SHAPE_15M = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 288,
             "intermediate_size": 768, "num_hidden_layers": 6, "num_attention_heads": 6,
             "num_key_value_heads": 6, "head_dim": 48, "vocab_size": 32000, "max_position_embeddings": 4096,
             "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": True, "hidden_act": "silu"}
MAX_RSS = 300e6
HUGE, PAGES = 2 << 20, 64 << 10
FOOTER = "<8Q"  # payload offset, weights, tokenizer (offset, bytes), manifest (offset, bytes), id, magic


def folder(name):
    path = SCRATCH / name
    path.mkdir()
    return path


def config_folder(name, config):
    path = folder(name)
    (path / "config.json").write_text(json.dumps(config))
    return path


def example():
    path = SCRATCH / "example"
    return path if path.exists() else compile_model(EXAMPLE, "example")


def llama():
    path = SCRATCH / "llama"
    return path if path.exists() else compile_model(DATA / "llama", "llama")


def large():
    """A program that takes its time."""
    path = SCRATCH / "large"
    if not path.exists():
        compile_model(config_folder("large-model", SHAPE_15M), "large", "--random-weights", "1")
    return path


IDS = [5, 17, 3, 44, 60, 2, 31, 9, 9, 50, 28]


# ---- numbers --------------------------------------------------------------------------------------------

def threads():
    for model in "llama", "qwen3", "nanochat-mhc", "nanochat-win", "nanochat-gqa":
        program = compile_model(DATA / model, model)
        golden = Golden(DATA / model)
        ids = golden.ids(golden.cases["seq"], "tokens")
        for block in "1", "5", "64":
            first = logits(program, ids, "-t", "1", "--block", block)
            for n in "2", "3", "4":
                check(logits(program, ids, "-t", n, "--block", block) == first,
                      f"{model}: -t {n} --block {block}: logits are not those of -t 1")
    ids = list(b"ROMEO:\nWhat light")
    first = logits(example(), ids, "-t", "1", n=8)
    check(logits(example(), ids, "-t", "2", n=8) == first, "example: -t 2 gives other logits than -t 1")
    long = logits(example(), ids, "-t", "1", n=90)  # long enough for a choice of threads
    for args in (), ("-t", "3"), ("-t", "5", "--pin"):
        check(logits(example(), ids, *args, n=90) == long,
              f"example: {' '.join(args) or 'no -t'} gives other logits than -t 1")
    check(logits(example(), ids, "-t", "7", n=8) == first, "example: -t 7 gives other logits than -t 1")


def reproducible():
    a = compile_model(DATA / "nanochat-mhc", "once", levels=True).read_bytes()
    other = folder("another-folder")
    run([SNLPC, "compile", DATA / "nanochat-mhc", "-o", "twice", "-q"], cwd=other,
        env=os.environ | {"TMPDIR": str(other)})
    check((other / "twice").read_bytes() == a, "two compiles give different programs")
    check(os.listdir(other) == ["twice"], f"compile leaves {os.listdir(other)} in TMPDIR")


# ---- one file ---------------------------------------------------------------------------------------------

def nothing_around():
    """No environment, an empty folder to stand in, no arguments that name files."""
    empty = folder("empty")
    wanted = run([example(), "-p", "KING", "-n", "12", "-t", "1"]).stdout
    check(len(wanted) > 0, "the example writes nothing")
    alone = run([example(), "-p", "KING", "-n", "12", "-t", "1"], env={}, cwd=empty)
    check(alone.stdout == wanted, f"in an empty folder: found {alone.stdout}, wanted {wanted}")
    check(not os.listdir(empty), f"the program leaves {os.listdir(empty)}")


def static():
    raw = example().read_bytes()
    check(raw[:5] == b"\x7fELF\x02", "not a 64-bit ELF file")
    offset, = struct.unpack_from("<Q", raw, 32)
    size, n = struct.unpack_from("<HH", raw, 54)
    kinds = [struct.unpack_from("<I", raw, offset + i * size)[0] for i in range(n)]
    check(2 not in kinds and 3 not in kinds, f"it wants a dynamic linker: segments {kinds}")
    if shutil.which("ldd"):
        said = run(["ldd", example()], code=1)
        check(b"not a dynamic executable" in said.stdout + said.stderr, f"ldd says {said}")


def other_names():
    """Copied, linked, found through PATH, started with another argv[0], its file removed meanwhile."""
    wanted = generate(llama(), IDS, 6)
    place = folder("place")
    copy, link = place / "renamed program", place / "link"
    shutil.copy(llama(), copy)
    link.symlink_to(llama())
    check(generate(copy, IDS, 6) == wanted, "a copy gives other ids")
    check(generate(link, IDS, 6) == wanted, "through a symbolic link: other ids")
    argv = ["odd name", "--ids", ids_text(IDS), "-n", "6", "--ignore-eos"]
    for executable, environment in ((copy, {}), ("renamed program", {"PATH": str(place)})):
        done = subprocess.run(argv, executable=executable, env=environment, cwd="/", capture_output=True,
                              stdin=subprocess.DEVNULL)
        check(done.stdout.split() == [b"%d" % i for i in wanted], f"started as {executable}: {done}")


# ---- what is missing ------------------------------------------------------------------------------------------

def footer():
    raw = llama().read_bytes()
    return raw, struct.unpack(FOOTER, raw[-64:])


def expect_message(what, program, code, *texts):
    done = run([program, "--ids", "1 2 3", "-n", "2"], code=code)
    message = done.stderr.decode()
    check(done.stdout == b"", f"{what}: writes {done.stdout}")
    check(message.count("\n") == 1, f"{what}: one line was wanted, found:\n{message}")
    for text in texts:
        check(text in message, f"{what}: no '{text}' in: {message}")


def written(name, raw):
    path = SCRATCH / name
    path.write_bytes(raw)
    path.chmod(0o755)
    return path


def stripped():
    raw, (payload, *_) = footer()
    path = written("stripped", raw)
    if shutil.which("strip"):
        run(["strip", path])
        check(path.stat().st_size < payload, "strip leaves the weights: the test tests nothing")
    else:
        path = written("stripped", raw[:payload])
    expect_message("stripped", path, 1, "weights", "strip")


def truncated():
    raw, (payload, weights, *_) = footer()
    for what, size in (("one byte short", len(raw) - 1), ("without its footer", len(raw) - 64),
                       ("half of its weights", payload + weights // 2), ("no payload", payload)):
        expect_message(what, written("truncated", raw[:size]), 1, "weights")
    expect_message("with bytes behind", written("longer", raw + b"\n"), 1, "weights")


def changed():
    """A payload that is not this program's; and a changed byte, which --verify finds."""
    raw, fields = footer()
    fields = list(fields)
    fields[6] ^= 1
    expect_message("another model's payload", written("other-id", raw[:-64] + struct.pack(FOOTER, *fields)), 1)
    for i in range(6):
        for value in 2 ** 63, 2 ** 64 - 64, len(raw) * 2:
            broken = list(struct.unpack(FOOTER, raw[-64:]))
            broken[i] = value
            path = written("broken", raw[:-64] + struct.pack(FOOTER, *broken))
            expect_message(f"footer field {i} = {value}", path, 1)
    run([llama(), "--verify"])
    middle = fields[0] + fields[1] // 2
    flipped = raw[:middle] + bytes([raw[middle] ^ 1]) + raw[middle + 1:]
    done = run([written("flipped", flipped), "--verify"], code=1)
    check(b"weight" in done.stdout + done.stderr, f"--verify on a changed weight: {done}")
    raw = bytearray(example().read_bytes())
    payload, _, tokenizer, nbytes, *_ = struct.unpack(FOOTER, raw[-64:])
    done = run([example(), "--verify"])
    check(b"and the tokenizer: intact" in done.stdout, done)
    raw[payload + tokenizer + nbytes // 2] ^= 1
    done = run([written("flipped", raw), "--verify"], code=1)
    check(b"the tokenizer or the list of weights is damaged" in done.stderr, f"--verify on a changed tokenizer: {done}")


def no_numbers():
    """Finite weights under which f32 overflows: the program says so instead of writing text."""
    source, model = DATA / "llama", folder("overflow-model")
    shutil.copy(source / "config.json", model)
    tensors = read_tensors(source / "model.safetensors")
    name = "model.layers.3.mlp.down_proj.weight"
    dtype, shape, raw = tensors[name]
    tensors[name] = dtype, shape, struct.pack("<f", 3e38) * (len(raw) // 4)
    write_tensors(model / "model.safetensors", tensors)
    program = compile_model(model, "overflow")
    expect_message("logits overflow", program, 1, "the logits at position 2 are not numbers", "--weights f32")


# ---- nothing half-written -----------------------------------------------------------------------------------

def truncated_model():
    source, model = DATA / "llama", folder("truncated-model")
    shutil.copy(source / "config.json", model)
    raw = (source / "model.safetensors").read_bytes()
    (model / "model.safetensors").write_bytes(raw[:len(raw) // 2])
    return model


def wrong_model():
    source, model = DATA / "llama", folder("wrong-model")
    shutil.copy(source / "config.json", model)
    tensors = read_tensors(source / "model.safetensors")
    del tensors["model.layers.3.mlp.up_proj.weight"]
    write_tensors(model / "model.safetensors", tensors)
    return model


def no_output():
    out = folder("out")
    for what, model, code in (("truncated weights", truncated_model(), 1), ("a tensor is missing", wrong_model(), 1),
                              ("no such model", SCRATCH / "nowhere", 4)):
        done = run([SNLPC, "compile", model, "-o", out / "p"], code=None)
        check(done.returncode == code, f"{what}: {done}")
        check(not os.listdir(out), f"{what}: compile leaves {os.listdir(out)}")
    (out / "file").write_bytes(b"mine")
    run([SNLPC, "compile", DATA / "llama", "-o", out / "file" / "p"], code=4)
    run([SNLPC, "compile", DATA / "llama", "-o", out / "none" / "p"], code=4)
    check((out / "file").read_bytes() == b"mine" and os.listdir(out) == ["file"], "an output in a wrong place")
    # What was there before stays when a compile fails.
    run([SNLPC, "compile", SCRATCH / "truncated-model", "-o", out / "file"], code=1)
    check((out / "file").read_bytes() == b"mine", "a failed compile has overwritten its output")


def full_disk():
    """A file that may not grow beyond a limit stands for a full disk: the write fails in the middle."""
    out = folder("full")

    def limit(size):
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    for size in 1_900_000, 600_000:  # in the weights, in the program
        done = run([SNLPC, "compile", DATA / "llama", "-o", out / "p"], code=4,
                   preexec_fn=lambda size=size: limit(size))
        check(not os.listdir(out), f"full disk: compile leaves {os.listdir(out)}")
        check(done.stderr, "full disk: no message")
    argv = [llama(), "--ids", ids_text(IDS), "-n", "3", "--ignore-eos"]
    run([*argv, "--logits", out / "logits"], code=4, preexec_fn=lambda: limit(1000))
    check(not os.listdir(out), f"full disk: the program leaves {os.listdir(out)}")
    if pathlib.Path("/dev/full").exists():
        with open("/dev/full", "wb") as device:
            run(argv, code=4, capture_output=False, stdout=device, stderr=subprocess.PIPE)


def interrupted_compile():
    """Ctrl-C at several moments: no file, no temporary folder."""
    out, temporary = folder("interrupted"), folder("temporary")
    model = SCRATCH / "large-model"
    large()
    for delay in 0.05, 0.15, 0.4:
        child = subprocess.Popen([SNLPC, "compile", model, "-o", out / "p", "-q", "--random-weights", "1"],
                                 env=os.environ | {"TMPDIR": str(temporary)}, stderr=subprocess.DEVNULL)
        time.sleep(delay)
        child.send_signal(signal.SIGINT)
        code = child.wait(60)
        left = [name for name in os.listdir(out) if name != "p"]
        check(not left and not os.listdir(temporary), f"Ctrl-C after {delay} s leaves {left}, {os.listdir(temporary)}")
        check(code == -signal.SIGINT and not (out / "p").exists() or code == 0, f"Ctrl-C: exit code {code}")
        (out / "p").unlink(missing_ok=True)


def closed_pipe():
    """Whoever reads the code has seen enough: no temporary file stays."""
    temporary = folder("piped")
    for delay in 0, 0.3:
        child = subprocess.Popen([SNLPC, "compile", EXAMPLE, "-q", "--emit", "asm", "--cpu", "native"],
                                 env=os.environ | {"TMPDIR": str(temporary)}, stdout=subprocess.PIPE,
                                 preexec_fn=lambda: signal.signal(signal.SIGPIPE, signal.SIG_DFL))
        time.sleep(delay)
        child.stdout.close()
        check(child.wait(60) == -signal.SIGPIPE, f"exit code {child.returncode}")
        check(not os.listdir(temporary), f"left {os.listdir(temporary)}")


# ---- running on and on -----------------------------------------------------------------------------------------

def control_c():
    child = subprocess.Popen([large(), "--ids", "1 2 3", "-n", "-1", "--ignore-eos", "-t", "1"],
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    first = child.stdout.read(4)  # it is writing
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=60)
    check(child.returncode == 0, f"Ctrl-C: exit code {child.returncode}, {err.decode()}")
    check(b"tokens/s" in err and b"interrupted" in err, f"Ctrl-C: no statistics in: {err.decode()}")
    check(first and (first + out).endswith(b"\n"), "Ctrl-C: the line is not ended")


def context_full():
    done = run([llama(), "--ids", ids_text(IDS), "-n", "-1", "--ignore-eos", "-c", "20"])
    n = len(done.stdout.split())
    # The last position's token needs no place of its own.
    check(n == 20 - len(IDS) + 1, f"context of 20: {n} tokens after {len(IDS)}")
    check(b"context" in done.stderr, f"context full: {done.stderr.decode()}")
    done = run([llama(), "--ids", ids_text(IDS), "-c", "10"], code=1)
    check(b"longer than the context" in done.stderr, f"prompt too long: {done.stderr.decode()}")
    run([llama(), "--ids", ids_text(IDS), "-c", str(len(IDS)), "-n", "0"])
    done = run([llama(), "--ids", ids_text(IDS), "-c", "129"], code=2)
    check(b"--context" in done.stderr, f"-c beyond the compiled context: {done.stderr.decode()}")
    done = run([llama(), "--ids", "64"], code=1)
    check(b"64" in done.stderr, f"an id outside the vocabulary: {done.stderr.decode()}")


# ---- time and memory ----------------------------------------------------------------------------------------------

def measured(argv):
    """Seconds and bytes of memory of a command and what it starts."""
    start = time.monotonic()
    child = subprocess.Popen([str(a) for a in argv], stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    check(os.waitstatus_to_exitcode(status) == 0, f"{argv} failed")
    return time.monotonic() - start, usage.ru_maxrss * 1024


def blocked_at_output(argv):
    """A program that stands at its first write, to a pipe that is full."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    try:
        while os.write(write, b"." * 4096):
            pass
    except BlockingIOError:
        pass
    os.set_blocking(write, True)
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=write, stderr=subprocess.DEVNULL)
    os.close(write)
    while process.poll() is None:
        if pathlib.Path(f"/proc/{process.pid}/syscall").read_text().startswith("1 0x1 "):
            break
        time.sleep(0.01)
    return process, read


def memory():
    """Resident: the weights, the states of the positions used, the workspace, and little else."""
    for program, n_tokens in (example(), 120), (large(), 500):
        about = json.loads(run([program, "--about", "--json"]).stdout)
        for threads in 1, 2, 5:
            ids = ids_text([(7 * i) % 250 for i in range(n_tokens)])
            process, read = blocked_at_output([program, "--ids", ids, "-n", "1", "-t", str(threads)])
            status = dict(line.split(":", 1)
                          for line in pathlib.Path(f"/proc/{process.pid}/status").read_text().splitlines())
            process.kill()
            process.wait()
            os.close(read)
            mode = about["modes"][0]
            work = mode["shared_bytes"] + threads * mode["private_bytes"]
            printed = about["state_bytes"] * n_tokens // about["context"] + work
            kib = {key: 1024 * int(status[key].split()[0]) for key in ("VmHWM", "RssAnon")}
            check(kib["RssAnon"] <= printed + 4e6,
                  f"{program.name} -t {threads}: {kib['RssAnon']} bytes anonymous, states and workspace {printed}")
            check(kib["VmHWM"] <= about["weight_bytes"] + printed + 8 * 2**20,
                  f"{program.name} -t {threads}: {kib['VmHWM']} bytes resident, "
                  f"weights {about['weight_bytes']}, states and workspace {printed}")
            if program == large():
                note = f"15M: {kib['VmHWM'] / 2**20:.1f} MiB resident, {kib['RssAnon'] / 2**20:.1f} of them not weights"
    return note


def decode_beside_a_reader():
    """What a token reads, and turns with a plain reader of it. Without -t the number of threads may change meanwhile."""
    program, matrices = SCRATCH / "read", 15_187_968 / 32 * 34  # 6 layers, and the embedding that is the head too
    run([SNLPC, "compile", config_folder("read-model", SHAPE_15M), "-o", program, "--random-weights", "1",
         "--weights", "q8_0", "--cpu", "native"])
    memory = json.loads(run([program, "--bench", "--json", "-c", "64", "-t", "3"]).stdout)["memory"]
    check(abs(memory["weight_bytes_per_token"] / matrices - 1) < 0.01, f"{memory}, wanted about {matrices} bytes")
    check(memory["turns"] >= 8 and memory["reader_gb_per_second"] > 0 < memory["decode_gb_per_second"], f"{memory}")
    text = run([program, "--bench", "-c", "64"]).stdout.decode()
    check(re.search(r"^memory [\d.]+ GB/s of weights in decode; a plain reader of them, in turns: [\d.]+ GB/s "
                    r"\(\d+ %\)$", text, re.MULTILINE), text)


def payload_offset(program):
    return struct.unpack(FOOTER, program[-64:])[0]


def huge_pages():
    """A copy in huge pages is the same program; without it nothing is copied."""
    weights = json.loads(run([large(), "--bench", "--json", "-c", "64"]).stdout)
    check(weights["huge_page_bytes"] == 0, f"bytes copied without being asked for: {weights}")
    check(payload_offset(large().read_bytes()) % HUGE == 0, "the payload does not begin with a huge page")
    small = llama().read_bytes()
    begin = payload_offset(small)
    check(any(small[begin - PAGES:begin]), "small weights lie further behind the program than a place for them is")
    copied = json.loads(run([large(), "--bench", "--json", "-c", "64", "--huge-pages"]).stdout)["huge_page_bytes"]
    offered = "[never]" not in pathlib.Path("/sys/kernel/mm/transparent_hugepage/enabled").read_text()
    check(copied % HUGE == 0 and (copied > weights["weight_bytes"] - 2 * HUGE if offered else copied == 0),
          f"{copied} bytes copied of {weights['weight_bytes']}")
    check(logits(large(), IDS, "--huge-pages", n=4) == logits(large(), IDS, n=4), "--huge-pages changes logits")
    return f"{copied / 1e6:.1f} MB copied"


def compile_cost():
    model = config_folder("cost-15M", SHAPE_15M)
    seconds, rss = measured([SNLPC, "compile", model, "-o", SCRATCH / "cost", "--random-weights", "1"])
    note = f"15M: {seconds:.2f} s, {rss / 1e6:.0f} MB"
    twice = config_folder("cost-42M", SHAPE_15M | {"hidden_size": 512, "intermediate_size": 1376, "head_dim": 64,
                                                   "num_hidden_layers": 8, "num_attention_heads": 8,
                                                   "num_key_value_heads": 8})
    if os.environ.get("SNL_FULL"):
        more_seconds, more = measured([SNLPC, "compile", twice, "-o", SCRATCH / "cost", "--random-weights", "1"])
        note += f"; 42M: {more_seconds:.2f} s, {more / 1e6:.0f} MB"
        check(more < rss + 30e6, f"memory grows with the model: {note}")
    (SCRATCH / "cost").unlink()
    for name in "llama", "nanochat-mhc":
        tiny_seconds, tiny = measured([SNLPC, "compile", DATA / name, "-o", SCRATCH / "cost"])
        note += f"; {name}: {tiny_seconds:.2f} s, {tiny / 1e6:.0f} MB"
    instrumented = b"__asan_init" in pathlib.Path(shutil.which(SNLPC) or SNLPC).read_bytes()
    check(instrumented or rss < MAX_RSS, f"the compiler takes more than {MAX_RSS / 1e6:.0f} MB: {note}")
    return note


def a_terminal_sees_progress():
    """A line for passes, code and weights, wiped before anything else is written: messages begin where the line did."""
    program = SCRATCH / "seen"
    compiles = [SNLPC, "compile", EXAMPLE, "-o", program, "--cpu", "native"]
    seen = on_terminal([*compiles, "--plan", "n4 K1"])
    for once in (b"passes ...\r", b"code ...\r", b"weights ...\r"):
        check(seen.count(once) == 1, f"wanted {once} once: {seen.decode()}")
    check(seen.index(b"passes [") < seen.index(b"\x1b[Kcode ...") < seen.index(b"\x1b[Kweights ..."), seen.decode())
    check(seen.split(b"\x1b[K")[-1].startswith(bytes(program)), f"the summary stands on a bar: {seen.decode()}")
    seen = on_terminal([*compiles, "--pipeline", "simplify,pack{weights=q5}"], code=1)
    check(re.search(rb"passes \[[^\r]*\r\x1b\[Kpack: ", seen), f"the message stands on a bar: {seen.decode()}")
    for columns in 12, 30:
        seen = on_terminal([*compiles, "-q"], columns=columns)
        widest = max(len(line) for line in seen.replace(b"\x1b[K", b"").split(b"\r"))
        check(10 < widest < columns, f"{widest} columns of {columns}: {seen.decode()}")
    check(b"\x1b" not in on_terminal([*compiles, "--weights", "q5"], code=2, term="dumb"), "colours where there are none")
    for quiet in (["--timing"], ["--print-ir-after", "simplify"], ["--check-each"]):
        check(b"passes" not in on_terminal([*compiles, *quiet, "--pipeline", "simplify", "--emit", "ir"]), quiet)


main([threads, reproducible, nothing_around, static, other_names, stripped, truncated, changed, no_numbers, no_output,
      full_disk, interrupted_compile, closed_pipe, control_c, context_full, memory, decode_beside_a_reader,
      huge_pages, compile_cost, a_terminal_sees_progress])
