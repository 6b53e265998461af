"""Who is measured: our program, our program with a plan, and peers. Each is run alone and says what it
reached: {"decode": tokens/s, "prefill": tokens/s, ...}. Threads are a number, or "auto": its own choice."""
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess

import make_models
from shapes import HEAD_OF, in_blocks, peer_shape

N_DECODE, N_PREFILL = 128, 512


class Problem(Exception):
    """Something that the user can mend."""


def run(argv, **more):
    argv = [str(a) for a in argv]
    done = subprocess.run(argv, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL, **more)
    if done.returncode:
        said = (done.stderr or done.stdout).strip()[-600:]
        raise Problem(f"{shlex.join(argv)}: ended with {done.returncode}: {said}")
    return done


class Compiled:
    """What snlpc makes of a shape; `plan` is None for the sequential program."""

    def __init__(self, args, shape, kind, plan=None):
        self.shape, self.kind, self.head = shape, kind, HEAD_OF.get(kind, kind)
        self.plan, self.snlpc, self.options = plan, args.snlpc, shlex.split(args.compile_options)
        self.words = re.sub(r"[^A-Za-z0-9]+", "-", " ".join([kind, plan or "seq", *self.options])).strip("-")

    def compile(self, work, path, *more):
        """Unless what is there is younger than the compiler."""
        folder = make_models.make_folder(self.shape, work)
        if path.exists() and path.stat().st_mtime > os.stat(self.snlpc).st_mtime:
            return
        head = ["--weights-head", self.head] if self.head != self.kind else []
        plan = ["--plan", self.plan] if self.plan else []
        run([self.snlpc, "compile", folder, "-o", path, "-q", "--cpu", "native", "--weights", self.kind,
             *head, *plan, *more, *self.options])


class StageClock(Compiled):
    """Our program's functions, timed stage by stage."""

    def prepare(self, work):
        self.path = make_models.make_folder(self.shape, work) / f"scheduled-{self.words}.snl"
        self.compile(work, self.path, "--emit", "ir")

    @property
    def block(self):
        """Tokens of a prompt that are processed at once."""
        head = next(line for line in self.path.read_text().splitlines() if line.startswith("func @forward.prefill("))
        return int(re.search(r"\btokens = (\d+)", head)[1])

    def run(self, form, threads, *options):
        """What `snlpc run --bench --json` says of forward.FORM."""
        return json.loads(run([self.snlpc, "run", self.path, f"forward.{form}", "--bench", "--json", "--cpu", "native",
                               "--threads", threads, *options]).stdout)


class Ours(Compiled):
    """Our program, run with `program_options`; `plan` is None for the sequential one."""

    def __init__(self, args, shape, kind, plan=None, program_options=""):
        super().__init__(args, shape, kind, plan)
        self.name = " ".join(["snlpc", plan or "seq", *program_options.split()])
        self.program_options = shlex.split(program_options)
        self.program = pathlib.Path(args.work) / shape.name / f"program-{self.words}"
        self.clock = StageClock(args, shape, kind, plan) if args.plan and not program_options else None

    def prepare(self, work):
        self.compile(work, self.program)
        if self.clock:
            self.clock.prepare(work)

    def bench(self, threads):
        chosen = [] if threads == "auto" else ["-t", threads]
        found = json.loads(run([self.program, "--bench", "--json", *chosen, *self.program_options]).stdout)
        decode, prefill, memory = found["decode"], found["prefill"], found["memory"]
        cache = found["state_bytes"] / found["context"] * (4 + decode["tokens"] / 2)
        return {"decode": decode["tokens_per_second"], "prefill": prefill["tokens_per_second"],
                "prefill_tokens": prefill["tokens"], "barriers": decode["barriers_per_call"],
                "threads": found["threads"], **self.waiting(found["threads"]),
                "turns": {"decode": memory["decode_gb_per_second"] * 1e9 / memory["weight_bytes_per_token"],
                          "reader": memory["reader_gb_per_second"]},
                "bytes": self.shape.weight_bytes(self.kind, self.head) + cache}

    def waiting(self, threads):
        """The share of a token's time that a thread spends at barriers, where plans are measured."""
        if not self.clock:
            return {}
        found = self.clock.run("decode", threads, f"pos={min(4 + N_DECODE // 2, self.shape.context - 1)}")
        return {"waiting": found["waiting_us"] / found["us"]}


class Peer:
    def __init__(self, text, shape, kind):
        name, equals, command = text.partition("=")
        known = equals and re.fullmatch(r"[\w. +-]+", name)
        self.argv = shlex.split(command if known else text)
        if not self.argv or not shutil.which(self.argv[0]):
            raise Problem(f"peer: found {text!r}, wanted [NAME=]PROGRAM [OPTION ...] with a program that can be run")
        self.name = name if known else pathlib.Path(self.argv[0]).name
        self.shape, self.kind, self.head = peer_shape(shape), kind, HEAD_OF.get(kind, kind)

    def bytes_of(self, positions):
        """Weights and a cache of f16 (llama2.c: f32, as its weights)."""
        cache = 2 * self.shape.kv_width * self.shape.layers * positions * self.cache_bytes
        return self.shape.weight_bytes(self.kind, self.head) + cache


class LlamaBench(Peer):
    """A llama-bench: llama.cpp's or a relative's. Options after its path are given to it; flash attention is
    on unless they say otherwise."""
    cache_bytes = 2

    @staticmethod
    def why_not(shape, kind):
        if kind in ("q8_0", "q4_0") and not in_blocks(peer_shape(shape)):
            return "rows are no whole blocks of 32"
        return None

    def prepare(self, work):
        shape = make_models.SHAPES[self.shape.name]
        self.model = make_models.make_gguf(shape, work, self.kind)

    def bench(self, threads):
        n_prefill = min(N_PREFILL, self.shape.context)
        n_decode = min(N_DECODE, self.shape.context)
        flash = [] if "-fa" in self.argv else ["-fa", 1]
        chosen = [] if threads == "auto" else ["-t", threads]
        text = run([*self.argv, *flash, "-m", self.model, "-p", n_prefill, "-n", n_decode, *chosen,
                    "-r", 1, "-o", "json"]).stdout
        found = {"prefill_tokens": n_prefill, "bytes": self.bytes_of(n_decode / 2)}
        for test in json.loads(text[text.index("["):]):
            found["decode" if test["n_gen"] else "prefill"] = test["avg_ts"]
            found["version"] = f"{test.get('build_commit')} ({test.get('build_number')}), {test.get('model_type')}"
        return found


class Llama2c(Peer):
    """llama2.c reads prompts token by token: it has no prefill."""
    cache_bytes = 4

    @staticmethod
    def why_not(shape, kind):
        return None if kind == "f32" else "f32 only"

    def prepare(self, work):
        self.model, self.tokens = make_models.make_llama2c(make_models.SHAPES[self.shape.name], work)

    def bench(self, threads):
        n = min(N_DECODE, self.shape.context - 1)
        chosen = {} if threads == "auto" else {"OMP_NUM_THREADS": str(threads)}
        text = run([*self.argv, self.model, "-z", self.tokens, "-t", 0, "-n", n + 1],
                   env={**os.environ, **chosen}).stderr
        speed = re.search(r"tok/s: ([0-9.]+)", text)
        if not speed:
            raise Problem(f"{self.argv[0]}: found no 'tok/s' in what it says: {text[-200:]!r}")
        return {"decode": float(speed[1]), "bytes": self.bytes_of(n / 2)}


def contestants(args, shape, kind, counts):
    """(those that can run this format, reasons why others cannot); our program also with each number of threads
    in `counts`."""
    options = [*args.program_options, *(f"-t {n}" for n in counts)]
    out = [Ours(args, shape, kind)] + [Ours(args, shape, kind, program_options=text) for text in options]
    out += [Ours(args, shape, kind, plan) for plan in args.plan]
    reasons = []
    for cls, texts in (LlamaBench, args.peer_llama_bench), (Llama2c, args.peer_llama2c):
        for text in texts:
            peer, reason = cls(text, shape, kind), cls.why_not(shape, kind)
            if reason:
                reasons.append(f"{peer.name}: {reason}")
            else:
                out.append(peer)
    names = [c.name for c in out]
    if len(set(names)) < len(names):
        raise Problem(f"names of contestants: found {', '.join(names)}, wanted each once (NAME=PROGRAM names a peer)")
    return out, reasons
