#!/usr/bin/env python3
"""`snlpc eval` on models and texts of ../shared (or $SNL_SHARED): the table in the example model's README,
and a tokenizer with a beginning token. Skips when they are not there."""
import json
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from program import SCRATCH, SHARED, check, compile_model, main, run  # noqa: E402
from eval_command import FULL, TEXT, evaluate, near  # noqa: E402

if not (SHARED / "corpus" / "tinyshakespeare.txt").is_file():
    print(f"skipped: no texts and models at {SHARED} (SNL_SHARED says where)")
    sys.exit(77)


def a_tokenizer_with_a_beginning_token():
    model, text = SHARED / "models" / "stories260K", SHARED / "corpus" / "tinystories_sample.txt"
    short = SCRATCH / "stories.txt"
    short.write_bytes(text.read_bytes()[:4000])
    found = evaluate("--no-time", "--context", "128", text=short, plans=["[1:3] K1"], model=model)
    program = compile_model(model, "stories", "--cpu", "native", "--context", "128", "--plan", "seq", "--plan",
                            "[1:3] K1")
    for plan in found["plans"]:
        done = run([program, "--ppl", short, "--json", "-t", "1", "--mode", plan["name"]])
        near(plan["plan"], plan["perplexity"], json.loads(done.stdout)["perplexity"], 1e-4)
    check(found["plans"][0]["greedy_match"] == found["plans"][0]["greedy_length"] > 0, str(found["plans"][0]))


def table_of_the_readme():
    """{plan: (perplexity, agreement in percent, steps)}"""
    rows = {}
    for line in TEXT.read_text().splitlines():
        found = re.match(r"\| `([^`]+)` \| ([0-9.]+) \| \S+ % \| ([0-9.]+) % \| (\d+) \|", line)
        if found:
            rows[found[1]] = (float(found[2]), float(found[3]), int(found[4]))
    return rows


def the_examples_table():
    """All of it with SNL_FULL=1; else some plans on the first windows, where only the ratio to sequential
    can be compared."""
    corpus = SHARED / "corpus" / "tinyshakespeare.txt"
    whole = corpus.read_bytes()
    text = SCRATCH / "last.txt"
    text.write_bytes(whole[int(0.9 * len(whole)):])
    rows = table_of_the_readme()
    check(len(rows) == 20, f"found {len(rows)} rows in {TEXT}")
    plans = [plan for plan in rows if plan != "seq"]
    if not FULL:
        plans = ["n8 K2 h0", "n12 K1 h0", "n8 4xF2 K1 h0"]
    found = evaluate("--no-time", "--greedy", "0", *(() if FULL else ("--tokens", "12800")), text=text,
                     plans=plans)
    sequential, worst = found["plans"][0]["perplexity"], 0.0
    for plan in found["plans"]:
        perplexity, agreement, steps = rows[plan["plan"]]
        check(plan["steps"] == steps, f"{plan['plan']}: {plan['steps']} steps, wanted {steps}")
        ratio = plan["perplexity"] / sequential / (perplexity / rows["seq"][0]) - 1
        error = plan["perplexity"] / perplexity - 1 if FULL else ratio
        limit = 0.005 if FULL else 0.015
        check(abs(error) <= limit, f"{plan['plan']}: {error:+.4f} from the README's {perplexity}")
        near(f"{plan['plan']}: agreement", 100 * plan["agreement"], agreement, 0.002 if FULL else 0.02)
        worst = max(worst, abs(error))
    return f"{len(found['plans'])} plans, {found['scored']} tokens, within {100 * worst:.2f} %"


if __name__ == "__main__":
    main([a_tokenizer_with_a_beginning_token, the_examples_table])
