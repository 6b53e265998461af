"""What the end-to-end tests share: compiling models, running programs, reading and writing safetensors,
comparing numbers. Plain Python 3.

A test is a list of functions given to `main`; a function fails by raising (Failed, or any exception).
The environment says where things are: SNLPC (the compiler), SNL_SOURCE (the repository), and SNL_SHARED
(reference data; ../shared beside the repository when not set).
"""
import array
import atexit
import fcntl
import json
import os
import pathlib
import pty
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
import time
import traceback
from collections import Counter

SKIPPED = 77
SNLPC = os.environ.get("SNLPC", "snlpc")
SOURCE = pathlib.Path(os.environ.get("SNL_SOURCE", pathlib.Path(__file__).resolve().parents[2]))
SHARED = pathlib.Path(os.environ.get("SNL_SHARED") or SOURCE.parent / "shared")
DATA = SOURCE / "tests" / "data"
MODELS = ["llama", "qwen2", "qwen3", "nanochat-full", "nanochat-gqa", "nanochat-mhc", "nanochat-nox0ve",
          "nanochat-win"]
EXAMPLE = SOURCE / "examples" / "tiny-shakespeare-snlp"

# REFERENCE.md, for a float32 implementation.
LOGITS_LIMIT = 1e-4
STATES_LIMIT = 3e-5


class Failed(Exception):
    pass


def check(condition, message):
    if not condition:
        raise Failed(message)


def skip(reason):
    print(f"skipped: {reason}")
    sys.exit(SKIPPED)


def _scratch():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="snl-e2e-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


SCRATCH = _scratch()


# ---- running things --------------------------------------------------------------------------------

def run(argv, code=0, timeout=120, **options):
    """Runs a command; its exit code must be `code` (None: any). Text of both streams is captured."""
    options = {"stdin": subprocess.DEVNULL, "capture_output": True} | options
    done = subprocess.run([str(a) for a in argv], timeout=timeout, **options)
    if code is not None and done.returncode != code:
        output = (done.stdout or b"") + (done.stderr or b"")
        raise Failed(f"{' '.join(map(str, argv))}\nended with {done.returncode}, wanted {code}:\n"
                     + output.decode(errors="replace")[-4000:])
    return done


def on_terminal(argv, code=0, term="xterm", columns=80):
    """What the command writes to stderr when that is a terminal."""
    reader, writer = pty.openpty()
    fcntl.ioctl(writer, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with subprocess.Popen([str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=writer,
                          env=dict(os.environ, TERM=term)) as process:
        os.close(writer)
        seen = b""
        while True:
            try:
                part = os.read(reader, 4096)
            except OSError:
                break
            if not part:
                break
            seen += part
        check(process.wait() == code, f"ended with {process.returncode}, wanted {code}: {seen.decode()}")
    os.close(reader)
    return seen


def compile_model(model, name, *options, code=0, levels=False):
    """The path of the program (in the scratch folder). Code for this machine only, which compiles fastest,
    unless `levels` wants the usual several."""
    path = SCRATCH / name
    if not levels and "--cpu" not in options:
        options = ("--cpu", "native", *options)
    run([SNLPC, "compile", model, "-o", path, "-q", *options], code=code)
    return path


_compiled = {}


def compiled_once(model, *options):
    """The path of a program that functions of a test share: compiled when it is first asked for. They read
    and run it, and leave it where it is."""
    key = (str(model), *map(str, options))
    if key not in _compiled:
        _compiled[key] = compile_model(model, f"shared-{len(_compiled)}", *options)
    return _compiled[key]


def ids_text(ids):
    return " ".join(map(str, ids))


def generate(program, prompt, n, *options, level=None):
    """The ids that the program generates after the prompt's ids."""
    environment = os.environ | ({"SNL_LEVEL": level} if level else {})
    done = run([program, "--ids", ids_text(prompt), "-n", n, "--ignore-eos", *options], env=environment)
    return [int(word) for word in done.stdout.split()]


def logits(program, ids, *options, n=0, level=None):
    """Raw bytes of the logits of all positions."""
    path = SCRATCH / "logits"
    generate(program, ids, n, "--logits", path, *options, level=level)
    raw = path.read_bytes()
    path.unlink()
    return raw


def levels_here(program):
    """Levels of code in the program that this machine can run."""
    about = run([program, "--about"]).stdout.decode()
    names = [line.split()[1:] for line in about.splitlines() if line.startswith("levels:")]
    names = [name for name in (names[0] if names else []) if not name.strip("()") in ("runs", "here")]
    return [name for name in names
            if run([program, "--ids", "1", "-n", "1"], code=None, env=os.environ | {"SNL_LEVEL": name}).returncode == 0]


# ---- numbers ------------------------------------------------------------------------------------------

def numbers(raw, kind="f"):
    values = array.array(kind, raw)
    if sys.byteorder == "big":
        values.byteswap()
    return values


def raw_numbers(values, kind="f"):
    values = array.array(kind, values)
    if sys.byteorder == "big":
        values.byteswap()
    return values.tobytes()


def close(what, found, wanted, limit):
    """Largest difference; fails beyond the limit (NaN is far from everything)."""
    check(len(found) == len(wanted), f"{what}: found {len(found)} numbers, wanted {len(wanted)}")
    worst = 0.0
    for i, (a, b) in enumerate(zip(found, wanted)):
        error = abs(a - b)
        if not error <= limit:
            raise Failed(f"{what}: element {i}: found {a!r}, wanted {b!r} (limit {limit})")
        worst = max(worst, error)
    return worst


def argmax(row):
    return max(range(len(row)), key=row.__getitem__)


# ---- safetensors --------------------------------------------------------------------------------------

def read_tensors(path):
    """{name: (dtype, shape, bytes)}"""
    raw = pathlib.Path(path).read_bytes()
    n, = struct.unpack_from("<Q", raw)
    header = json.loads(raw[8:8 + n])
    header.pop("__metadata__", None)
    return {name: (t["dtype"], t["shape"], raw[8 + n:][slice(*t["data_offsets"])])
            for name, t in header.items()}


def write_tensors(path, tensors):
    header, data = {}, b""
    for name, (dtype, shape, raw) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    pathlib.Path(path).write_bytes(struct.pack("<Q", len(text)) + text + data)


class Golden:
    """A folder of stored cases: cases.json, expected.safetensors, and the model."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.name = self.folder.name
        root = json.loads((self.folder / "cases.json").read_text())
        self.model = (self.folder / root["model_dir"]).resolve() if "model_dir" in root else self.folder
        self.cases = {case["key"]: case for case in root["cases"] if case.get("applies", True)}
        self.not_applying = Counter(case["why_not"] for case in root["cases"] if not case.get("applies", True))
        self.expected = read_tensors(self.folder / "expected.safetensors")

    def ids(self, case, *fields):
        for field in fields:
            value = case.get(field)
            if isinstance(value, list):
                return value
            if isinstance(value, str):
                return list(numbers(self.expected[value][2], "i"))
        raise Failed(f"{self.name}: case {case['key']} has none of {fields}")

    def tensor(self, name):
        return numbers(self.expected[name][2])


# ---- the test itself ------------------------------------------------------------------------------------

def main(tests, args=None):
    """Runs (name, function, arguments...) or functions; the exit code says whether all passed."""
    failures = 0
    for test in tests:
        name, function, *arguments = test if isinstance(test, tuple) else (test.__name__, test)
        start = time.monotonic()
        try:
            note = function(*arguments) or ""
            print(f"ok      {name} ({time.monotonic() - start:.1f} s) {note}", flush=True)
        except Failed as failure:
            failures += 1
            print(f"FAILED  {name}: {failure}", flush=True)
        except Exception:
            failures += 1
            print(f"FAILED  {name}:\n{traceback.format_exc()}", flush=True)
    if failures:
        print(f"{failures} of {len(tests)} failed")
    sys.exit(1 if failures else 0)
