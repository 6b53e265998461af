"""The emitted program around a model written by hand (tests/support/fake_model.h): every option,
every exit code, what goes to standard output and what to standard error. No compiler involved.

Variants: the archive as shipped (static), with AddressSanitizer, with ThreadSanitizer."""
import json
import math
import os
import pathlib
import pty
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import unittest

BUILD = pathlib.Path(os.environ.get("SNL_BUILD", "build"))
SCRIPT = "Hello, wörld €! \U0001f642 "
BYTES = SCRIPT.encode()
VOCAB, CONTEXT, BLOCK = 256, 200, 16
OK, INPUT, USAGE, INTERNAL, MACHINE = range(5)


def continuation(pos, n):
    """What the model says after position pos - 1."""
    return bytes(BYTES[(pos + i) % len(BYTES)] for i in range(n))


def expected_logits(tokens):
    rows, total = [], 0
    for p, token in enumerate(tokens):
        total += token
        wanted = BYTES[(p + 1) % len(BYTES)]
        rows.append([(20.0 if v == wanted else 0.0) + (total * (v + 1) % 97) / 97.0
                     for v in range(VOCAB)])
    return rows


def make(folder, variant, name="prog", script=SCRIPT, tokenizer="byte"):
    path = pathlib.Path(folder) / name
    subprocess.run([BUILD / "runtime" / "fake_payload", BUILD / "runtime" / f"snlrt_fake{variant}",
                    path, script, tokenizer], check=True)
    return path


class Program(unittest.TestCase):
    variant = ""

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="snlrt-")
        cls.prog = make(cls.folder, cls.variant)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder)

    def run_prog(self, *args, prog=None, text=b"", **more):
        if "stdin" not in more:
            more["input"] = text
        return subprocess.run([prog or self.prog, *args], stdout=more.pop("stdout", subprocess.PIPE),
                              stderr=subprocess.PIPE, timeout=120, **more)

    def good(self, *args, **more):
        done = self.run_prog(*args, **more)
        self.assertEqual(done.returncode, OK, done.stderr)
        return done

    def bad(self, code, message, *args, **more):
        done = self.run_prog(*args, **more)
        self.assertEqual(done.returncode, code, done.stderr)
        self.assertIn(message, done.stderr.decode())
        self.assertEqual(done.stdout or b"", b"")
        return done

    # ---- text ----

    def test_text_from_every_source(self):
        wanted = continuation(1, 12)
        (pathlib.Path(self.folder) / "prompt.txt").write_bytes(b"x")
        for args, text in ((("-p", "x"), b""), ((), b"x"),
                           (("-f", f"{self.folder}/prompt.txt"), b"")):
            done = self.good(*args, "-n", "12", text=text)
            self.assertEqual(done.stdout, wanted)
            self.assertIn(b"generated: 12 tokens", done.stderr)
            self.assertRegex(done.stderr, rb"memory: states \d+\.\d MiB, workspace \d+\.\d MiB\n\Z")

    def test_same_text_for_every_team_and_block(self):
        prompt = "p" * 50
        wanted = continuation(50, 60)
        for threads in "1", "2", "3":
            for block in "1", "7", "16":
                done = self.good("-p", prompt, "-n", "60", "-t", threads, "--block", block)
                self.assertEqual(done.stdout, wanted)

    def test_chosen_and_pinned_threads_give_the_same_text(self):
        wanted = continuation(1, 150)
        for args in (), ("--pin",), ("--pin", "-t", "2"), ("--pin", "-t", "5"):
            self.assertEqual(self.good("-p", "x", "-n", "150", *args).stdout, wanted)
        done = self.good("-p", "x", "-n", "150", "--json")
        found = json.loads(done.stderr)
        self.assertIn(found["threads"], range(1, found["max_threads"] + 1))
        self.assertLessEqual(found["max_threads"], len(os.sched_getaffinity(0)))
        found = json.loads(self.good("-p", "x", "-n", "20", "-t", "3", "--json").stderr)
        self.assertEqual((found["threads"], found["max_threads"]), (3, 3))
        self.bad(USAGE, "--pin takes no argument", "--pin=1", "-p", "x")

    def test_huge_pages_are_for_what_reads_weights(self):
        self.good("-p", "x", "-n", "5", "--huge-pages")
        for task in "--about", "--verify":
            self.bad(USAGE, f"--huge-pages has no use with {task}", "--huge-pages", task)

    def test_as_many_threads_as_asked_for(self):
        if self.variant:
            self.skipTest("sanitizers have threads of their own")
        for n in "1", "3", "6":
            with subprocess.Popen([self.prog, "-p", "x", "-n", "150", "--mode", "slow", "-t", n],
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.DEVNULL) as process:
                os.read(process.stdout.fileno(), 1)
                self.assertEqual(len(os.listdir(f"/proc/{process.pid}/task")), int(n))

    def test_only_whole_characters_come_out(self):
        for n in range(1, 2 * len(BYTES)):
            self.good("-p", "x", "-n", str(n)).stdout.decode("utf-8")

    def test_text_streams_while_it_is_made(self):
        with subprocess.Popen([self.prog, "-p", "x", "-n", "150", "--mode", "slow"],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL) as process:
            os.read(process.stdout.fileno(), 1)
            self.assertIsNone(process.poll())

    def test_prompt_only(self):
        done = self.good("-p", "abc", "-n", "0")
        self.assertEqual(done.stdout, b"")
        self.assertIn(b"prompt: 3 tokens", done.stderr)

    def test_stop_text(self):
        done = self.good("-p", "x", "-n", "100", "--stop", "zzz", "--stop", "rld")
        self.assertEqual(done.stdout.decode(), "ello, wö")
        self.assertIn(b"a stop text", done.stderr)

    def test_end_of_sequence(self):
        prog = make(self.folder, self.variant, "eos", "abc\x03def")
        done = self.good("-p", "x", prog=prog)
        self.assertEqual(done.stdout, b"bc")
        self.assertIn(b"end of sequence", done.stderr)
        done = self.good("-p", "x", "--ignore-eos", "-n", "6", prog=prog)
        self.assertEqual(done.stdout, b"bc\x03def")
        done = self.good("--ids", "97", "-n", "6", prog=prog)
        self.assertEqual(done.stdout, b"98 99\n")

    def test_context_full(self):
        done = self.good("-p", "x" * 190, "-n", "-1")
        self.assertEqual(done.stdout.decode(), continuation(190, 11).decode(errors="replace"))
        self.assertIn(b"context full: all 200 positions are used", done.stderr)
        done = self.good("-p", "x" * 8, "-c", "10")
        self.assertIn(b"context full: all 10 positions are used", done.stderr)
        done = self.good("-p", "x" * 10, "-n", "1", "-c", "10")
        self.assertNotIn(b"context full", done.stderr)

    def test_prompt_too_long(self):
        self.bad(INPUT, "the prompt is longer than the context: found 201 tokens, wanted at most 200",
                 "-p", "x" * 201)
        self.bad(INPUT, "found 11 tokens, wanted at most 10", "-c", "10", text=b"x" * 11)

    def test_empty_prompt_without_beginning_token(self):
        self.bad(USAGE, "the prompt is empty, and the model has no beginning token", "-p", "")
        self.bad(USAGE, "the prompt is empty", "--ids", " ")

    # ---- ids ----

    def test_ids(self):
        done = self.good("--ids", "72, 105 33", "-n", "4")
        self.assertEqual(done.stdout, b" ".join(b"%d" % b for b in continuation(3, 4)) + b"\n")
        self.bad(USAGE, "--ids: found '1x 2', wanted token ids", "--ids", "3 1x 2")
        self.bad(USAGE, "--ids: found '-1', wanted token ids", "--ids", "-1")
        self.bad(INPUT, "token id 256 (number 2): wanted 0 to 255", "--ids", "1 256")

    def test_without_tokenizer(self):
        prog = make(self.folder, self.variant, "none", tokenizer="none")
        self.bad(USAGE, "without a tokenizer: give the prompt as token ids", "-p", "x", prog=prog)
        self.bad(USAGE, "without a tokenizer", "--ppl", "x", prog=prog)
        self.assertEqual(self.good("--ids", "1", "-n", "1", prog=prog).stdout, b"101\n")
        self.assertIn(b"tokenizer: none", self.good("--about", prog=prog).stdout)

    # ---- sampling ----

    def test_seeded_sampling_repeats(self):
        args = ("-p", "x", "-n", "40", "--temp", "9", "--top-k", "30", "--json")
        first = self.good(*args, "--seed", "5")
        self.assertEqual(first.stdout, self.good(*args, "--seed", "5").stdout)
        self.assertNotEqual(first.stdout, self.good(*args, "--seed", "6").stdout)
        self.assertEqual(json.loads(first.stderr)["seed"], 5)

    def test_idle_sampling_option_is_noted(self):
        done = self.good("-p", "x", "-n", "3", "--top-p", "0.5")
        self.assertIn(b"--top-p changes nothing without --temp", done.stderr)
        self.assertEqual(done.stdout, continuation(1, 3))

    # ---- files ----

    def test_logits(self):
        path = pathlib.Path(self.folder) / "logits.f32"
        for block in "1", "5", "16":
            self.good("--ids", " ".join(str(i) for i in range(40)), "-n", "4", "--block", block,
                      "--logits", path)
            tokens = list(range(40)) + list(continuation(40, 3))
            data = path.read_bytes()
            self.assertEqual(len(data), 43 * VOCAB * 4)
            found = struct.unpack(f"<{43 * VOCAB}f", data)
            wanted = [x for row in expected_logits(tokens) for x in row]
            self.assertLess(max(abs(a - b) for a, b in zip(found, wanted)), 1e-5)
        self.good("--ids", "1 2 3", "-n", "0", "--logits", path)
        self.assertEqual(path.stat().st_size, 3 * VOCAB * 4)

    def test_states(self):
        path = pathlib.Path(self.folder) / "states.safetensors"
        self.good("--ids", " ".join("7" for _ in range(20)), "-n", "3", "--states", path)
        data = path.read_bytes()
        size = struct.unpack("<Q", data[:8])[0]
        header = json.loads(data[8:8 + size])
        self.assertEqual(size % 8, 0)
        self.assertEqual(header["h.0"], {"dtype": "F32", "shape": [22, 4], "data_offsets": [0, 352]})
        self.assertEqual(header["h.1"]["shape"], [22, 2, 3])
        begin, end = header["h.1"]["data_offsets"]
        values = struct.unpack(f"<{22 * 6}f", data[8 + size + begin:8 + size + end])
        self.assertEqual(values, tuple(float(100 * p + 10 * s + i) for p in range(22)
                                       for s in range(2) for i in range(3)))
        self.assertEqual(len(data), 8 + size + end)

    def test_failed_files_leave_nothing(self):
        self.bad(MACHINE, "cannot create /nonexistent/x: No such file or directory", "-p", "x",
                 "--logits", "/nonexistent/x")
        self.bad(MACHINE, "cannot write /dev/full: No space left on device", "--ids", "1", "-n", "0",
                 "--logits", "/dev/full")
        path = pathlib.Path(self.folder) / "kept"
        path.write_text("before")
        self.bad(INPUT, "token id 999", "--ids", "999", "--logits", path)
        self.assertEqual(path.read_text(), "before")
        self.assertEqual(list(pathlib.Path(self.folder).glob("kept.*")), [])

    # ---- tasks ----

    def test_perplexity(self):
        path = pathlib.Path(self.folder) / "text"
        path.write_bytes(bytes(range(1, 101)))

        def nll(window, first):
            rows = expected_logits(window)
            return [math.log(sum(map(math.exp, row))) - row[target]
                    for row, target in list(zip(rows, window[1:]))[first:]]

        for context in 30, 100, 200:
            size = min(context, 100)  # what does not fill a last window is left out
            windows = [list(range(1, 101))[i:i + size] for i in range(0, 101 - size, size)]
            for skip in False, True:
                values = [x for w in windows for x in nll(w, len(w) // 2 if skip else 0)]
                wanted = sum(values) / len(values)
                args = ["--ppl", path, "-c", str(context)] + ["--ppl-skip-half"] * skip
                found = json.loads(self.good(*args, "--json").stdout)
                self.assertAlmostEqual(found["mean_nll"], wanted, places=5)
                self.assertEqual(found["scored"], len(values))
                self.assertEqual(found["windows"], len(windows))
                line = self.good(*args).stdout.decode()
                self.assertRegex(line, r"^perplexity \d+\.\d{4}\n$")
                self.assertAlmostEqual(math.log(float(line.split()[1])), wanted, places=3)
        path.write_bytes(b"x")
        self.bad(INPUT, "found 1 tokens, too few to score one", "--ppl", path)
        path.write_bytes(b"xy")
        self.bad(INPUT, "found 2 tokens, too few to score one", "--ppl", path, "--ppl-skip-half")
        self.bad(MACHINE, "/nonexistent: cannot open", "--ppl", "/nonexistent")
        self.bad(USAGE, "--ppl: mode warm starts each token from the states of the one before",
                 "--ppl", path, "--mode", "warm")

    def test_logits_that_are_no_numbers(self):
        """Told with their position, as text, ids and perplexity; not where none of them is looked at."""
        message = "prog: the logits at position {} are not numbers: found NaN or infinity; --verify"
        for args in ("-p", "x" * 20), ("--ids", "7 " * 20), ("-p", "x" * 20, "--temp", "1"):
            done = self.bad(INPUT, message.format(19), *args, "--mode", "nan")
            self.assertEqual(done.stderr.count(b"\n"), 1)
        done = self.run_prog("-p", "x", "-n", "40", "--mode", "nan")
        self.assertEqual(done.returncode, INPUT)
        self.assertEqual(done.stdout.decode(), continuation(1, 16).decode(errors="ignore"))
        self.assertIn(message.format(16), done.stderr.decode())
        self.assertEqual(self.good("-p", "x", "-n", "16", "--mode", "nan").stdout,
                         self.good("-p", "x", "-n", "16").stdout)
        self.good("-p", "x" * 20, "-n", "0", "--mode", "nan")

    def test_perplexity_of_no_numbers(self):
        path = pathlib.Path(self.folder) / "text"
        path.write_bytes(bytes(range(1, 101)))
        for more in (), ("--json",):
            self.bad(INPUT, "the logits at position 16 are not numbers", "--ppl", path, "--mode", "nan", *more)
            self.bad(INPUT, "the logits at position 20 are not numbers", "--ppl", path, "--mode", "nan",
                     "-c", "40", "--ppl-skip-half", *more)
        self.good("--ppl", path, "--mode", "nan", "-c", "16")

    def test_bench(self):
        done = self.good("--bench", "-t", "2")
        self.assertRegex(done.stdout.decode(),
                         r"\Adecode \d+\.\d\d tokens/s\nprefill \d+\.\d\d tokens/s\n\Z")
        self.assertIn(b"the context of 200 positions allows 128 tokens of decode and 200 of prefill",
                      done.stderr)
        found = json.loads(self.good("--bench", "--json", "-t", "1", "-c", "50").stdout)
        self.assertEqual((found["decode"]["tokens"], found["prefill"]["tokens"]), (46, 50))
        self.assertEqual(found["decode"]["barriers_per_call"], 2)
        self.assertEqual((found["memory"]["weight_bytes_per_token"], found["memory"]["reader_gb_per_second"]), (0, 0))
        self.assertGreaterEqual(found["memory"]["turns"], 8)

    def test_about(self):
        text = self.good("--about").stdout.decode()
        for part in ('fake "model" (test)', "mode alt: plan seq", 'rounds("test")',
                     "end of sequence: 0, 3"):
            self.assertIn(part, text)
        found = json.loads(self.good("--about", "--json").stdout)
        self.assertEqual(found["model"], 'fake "model"')
        self.assertEqual([mode["name"] for mode in found["modes"]], ["seq", "alt", "slow", "prompt", "warm", "nan"])
        self.assertEqual(found["eos"], [0, 3])

    def test_verify(self):
        self.assertEqual(self.good("--verify").stdout, b"1 weights, 128 bytes, and the tokenizer: intact\n")
        plain = make(self.folder, self.variant, "none", tokenizer="none")
        self.assertEqual(self.good("--verify", prog=plain).stdout, b"1 weights, 128 bytes: intact\n")
        data = bytearray(self.prog.read_bytes())
        at = data.rindex(BYTES[:1] + b"\0\0\0" + BYTES[1:2] + b"\0\0\0")
        self.bad(INPUT, "weight script: found hash", "--verify", prog=self.flipped(self.prog, at))

    def flipped(self, prog, at):
        """A copy of the program with one bit changed."""
        data = bytearray(prog.read_bytes())
        data[at] ^= 1
        broken = pathlib.Path(self.folder) / "broken"
        broken.write_bytes(data)
        broken.chmod(0o755)
        return broken

    def test_verify_tokenizer_and_list(self):
        data = self.prog.read_bytes()
        payload, _, tokenizer, nbytes, *_ = struct.unpack("<8Q", data[-64:])
        damaged = "the tokenizer or the list of weights is damaged: found id "
        for at in payload + tokenizer, payload + tokenizer + nbytes - 1, data.rindex(b"script"), \
                data.rindex(b"i32"), data.rindex(b'"cols": ') + 8:
            self.bad(INPUT, damaged, "--verify", prog=self.flipped(self.prog, at))
        plain = make(self.folder, self.variant, "none", tokenizer="none")
        self.bad(INPUT, "broken: the list of weights is damaged: found id ", "--verify",
                 prog=self.flipped(plain, plain.read_bytes().rindex(b"plain")))

    def test_modes(self):
        first = self.good("--ids", "1", "-n", "2", "--mode", "alt").stdout
        self.assertEqual(first, self.good("--ids", "1", "-n", "2").stdout)
        self.bad(USAGE, "--mode: found 'fast', this program has: seq, alt, slow, prompt, warm, nan", "--mode", "fast")

    def test_first_token_does_not_wait_for_who_writes_the_prompt(self):
        line = f"(sleep 0.7; echo x) | '{self.prog}' -n 3 --json {{}}"
        for more, waits in ("", False), ("-f /dev/stdin", True):
            done = subprocess.run(["sh", "-c", line.format(more)], timeout=60, capture_output=True)
            found = json.loads(done.stderr)["first_token_seconds"]
            (self.assertGreater if waits else self.assertLess)(found, 0.6)
        parent, child = pty.openpty()
        process = subprocess.Popen([self.prog, "-n", "3", "--json"], stdin=child, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.PIPE)
        os.close(child)
        for typed in b"x\n", b"xy\n", b"\x04":
            time.sleep(0.7)
            os.write(parent, typed)
        _, err = process.communicate(timeout=60)
        os.close(parent)
        found = [json.loads(part)["first_token_seconds"] for part in re.findall(rb"{.*}", err)]
        self.assertEqual(len(found), 2)
        self.assertLess(max(found), 0.6)

    def test_json_statistics(self):
        done = self.good("-p", "xyz", "-n", "5", "-t", "2", "--json")
        found = json.loads(done.stderr)
        self.assertEqual((found["prompt_tokens"], found["generated_tokens"], found["decode_steps"],
                          found["threads"], found["end"]), (3, 5, 4, 2, "length"))

    def test_help(self):
        done = self.good("--help")
        self.assertIn(b"Usage: prog", done.stdout)
        self.assertEqual(done.stderr, b"")

    # ---- refusals ----

    def test_options_without_a_use(self):
        """Refused in one line, before anything is read or measured."""
        for option, args in ("predict", ("--ppl", "/nonexistent", "-n", "5")), ("seed", ("--bench", "--seed", "1")), \
                ("json", ("--verify", "--json")), ("context", ("--verify", "-c", "5")), \
                ("predict", ("--about", "-n", "5")):
            done = self.bad(USAGE, f"prog: --{option} has no use with {args[0]}\n", *args)
            self.assertEqual(done.stderr.count(b"\n"), 1)

    def test_more_pinned_threads_than_processors(self):
        n = len(os.sched_getaffinity(0))
        note = f"prog: note: --pin: {n + 1} threads share {n} processor{'s' * (n > 1)}\n"
        for more, noted in (("--pin", "-t", str(n + 1)), True), (("--pin", "-t", str(n)), False), \
                (("--pin",), False), (("-t", str(n + 1)), False):
            done = self.good("-p", "x", "-n", "3", *more)
            self.assertEqual(note in done.stderr.decode(), noted, done.stderr)

    def test_bad_options(self):
        self.bad(USAGE, "prog: unknown option '--nope'", "--nope")
        self.bad(USAGE, "unexpected argument", "text")
        self.bad(USAGE, "context: found 201 positions, wanted 1 to 200", "-p", "x", "-c", "201")
        self.bad(USAGE, "--threads: found '2000', wanted at most 1024", "-p", "x", "-t", "2000")
        self.bad(MACHINE, "cannot open", "-f", "/nonexistent")

    def test_large_block_is_noted(self):
        done = self.good("-p", "x", "-n", "1", "--block", "512")
        self.assertIn(b"compiled for blocks of up to 16", done.stderr)

    def test_closed_and_full_outputs(self):
        for shell, reason in ((">&-", "it is closed"), (">/dev/full", "No space left")):
            done = subprocess.run(["sh", "-c", f"'{self.prog}' -p x -n 9 {shell}"], timeout=60,
                                  stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
            self.assertEqual(done.returncode, MACHINE)
            self.assertIn(f"cannot write standard output: {reason}", done.stderr.decode())
        path = pathlib.Path(self.folder) / "safe"
        line = f"'{self.prog}' --ids 1 -n 2 --logits {path} <&- >&- 2>&-"
        done = subprocess.run(["sh", "-c", line], timeout=60)
        self.assertEqual(done.returncode, MACHINE)
        self.assertFalse(path.exists())

    def test_files_that_may_not_grow(self):
        """ulimit -f ends a process by a signal, unless it is ignored."""
        if self.variant == "_tsan":
            self.skipTest("ThreadSanitizer writes a file of its own before main")
        folder = pathlib.Path(self.folder) / "small"
        folder.mkdir()
        for more, name in (f"--logits {folder}/logits", f"{folder}/logits"), \
                (f"--states {folder}/states", f"{folder}/states"), (f">{folder}/text", "standard output"):
            done = subprocess.run(["sh", "-c", f"ulimit -f 0; '{self.prog}' -p x -n 3 {more}"], timeout=60,
                                  stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            self.assertEqual(done.returncode, MACHINE, done.stderr)
            self.assertTrue(done.stderr.decode().endswith(f"prog: cannot write {name}: File too large\n"))
        self.assertEqual([path.name for path in folder.iterdir()], ["text"])  # the shell's

    def test_closed_input(self):
        """Told as what it is; not missed when a prompt is given."""
        line = f"'{self.prog}' {{}} -n 2 <&-"
        done = subprocess.run(["sh", "-c", line.format("")], timeout=60, capture_output=True)
        self.assertEqual(done.returncode, USAGE)
        self.assertIn(b"standard input: found it closed, wanted a prompt: pipe one in", done.stderr)
        done = subprocess.run(["sh", "-c", line.format("-p x")], timeout=60, capture_output=True)
        self.assertEqual(done.returncode, 0)

    def test_lost_statistics(self):
        """As JSON they are a result; as text nobody may want them."""
        for shell in "2>/dev/full", "2>&-":
            for more, code in ("--json", MACHINE), ("", OK):
                done = subprocess.run(["sh", "-c", f"'{self.prog}' -p x -n 5 {more} {shell}"], timeout=60,
                                      stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
                self.assertEqual((done.returncode, done.stdout), (code, continuation(1, 5)))

    def test_closed_pipe(self):
        reader, writer = os.pipe()
        os.close(reader)
        done = self.run_prog("-p", "x", "-n", "20", stdout=writer)
        os.close(writer)
        self.assertEqual(done.returncode, MACHINE)
        self.assertIn(b"Broken pipe", done.stderr)

    def test_interrupt_ends_with_statistics(self):
        process = subprocess.Popen([self.prog, "-p", "x", "-n", "-1", "--mode", "slow"],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE)
        process.stdout.read(4)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        self.assertEqual(process.returncode, OK)
        self.assertIn(b"ended: interrupted", err)

    def test_interrupt_while_reading_the_prompt(self):
        process = subprocess.Popen([self.prog], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE)
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)
        self.assertEqual(process.returncode, OK)
        for pipe in process.stdin, process.stdout, process.stderr:
            pipe.close()

    def test_terminal_lines_are_prompts(self):
        parent, child = pty.openpty()
        process = subprocess.Popen([self.prog, "-n", "5"], stdin=child, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE)
        os.close(child)
        os.write(parent, b"x\n\nxy\n\x04")
        out, err = process.communicate(timeout=60)
        os.close(parent)
        self.assertEqual(process.returncode, OK, err)
        self.assertEqual(out, continuation(1, 5) + continuation(2, 5))
        self.assertEqual(err.count(b"prompt: "), 2)

    def test_runs_with_nothing_around_it(self):
        empty = pathlib.Path(self.folder) / "empty"
        empty.mkdir(exist_ok=True)
        done = subprocess.run(["env", "-i", self.prog, "-p", "x", "-n", "3"], cwd=empty, timeout=60,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL)
        self.assertEqual(done.stdout, continuation(1, 3))
        self.assertEqual(list(empty.iterdir()), [])

    def test_found_under_any_name(self):
        (pathlib.Path(self.folder) / "link").unlink(missing_ok=True)
        (pathlib.Path(self.folder) / "link").symlink_to(self.prog)
        done = subprocess.run(["strange name", "-p", "x", "-n", "3"],
                              executable=f"{self.folder}/link", timeout=60,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL)
        self.assertEqual(done.stdout, continuation(1, 3))


class Static(Program):
    def test_is_static(self):
        done = subprocess.run(["ldd", self.prog], capture_output=True)
        self.assertIn(b"not a dynamic executable", done.stdout + done.stderr)

    def test_stripped_program_says_what_it_misses(self):
        self.bad(INPUT, "snlrt_fake: weights missing (stripped?)", "-p", "x",
                 prog=BUILD / "runtime" / "snlrt_fake")
        stripped = pathlib.Path(self.folder) / "stripped"
        if shutil.which("strip"):
            subprocess.run(["strip", "-o", stripped, self.prog], check=True)
            self.bad(INPUT, "stripped: weights missing (stripped?)", "--about", prog=stripped)

    def test_wrong_processor(self):
        done = self.bad(MACHINE, "lacks the feature warp9,", "--help",
                        prog=BUILD / "runtime" / "snlrt_fake_bare")
        self.assertEqual(done.stderr.count(b"\n"), 1)

    def test_states_not_compiled_in(self):
        prog = make(self.folder, "_stateless", "stateless")
        self.bad(USAGE, "--states: the program was compiled without them: compile it with "
                        "--keep-states", "-p", "x", "--states", "f", prog=prog)

    def test_start_is_quick(self):
        best = 1e9
        for _ in range(10):
            begin = time.perf_counter()
            self.good("--ids", "1", "-n", "1", "-t", "1")
            best = min(best, time.perf_counter() - begin)
        self.assertLess(best, 0.05)


class AddressSanitizer(Program):
    variant = "_asan"


class ThreadSanitizer(Program):
    variant = "_tsan"


del Program

if __name__ == "__main__":
    if not (BUILD / "runtime" / "snlrt_fake").exists():
        print(f"skipped: {BUILD}/runtime/snlrt_fake is not built")
        sys.exit(77)
    unittest.main()
