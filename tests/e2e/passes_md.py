#!/usr/bin/env python3
"""Every before/after example of passes/PASSES.md is what `snlpc opt` prints, to the letter, and every pass has
one in its own section."""
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from program import SCRATCH, SNLPC, SOURCE, check, main, run  # noqa: E402

EXAMPLE = re.compile(r"```snl\n(?P<before>.*?)```\nwith `--pipeline '(?P<pipeline>[^']*)'`\n```snl\n(?P<after>.*?)```\n",
                     re.DOTALL)


def sections():
    """{title: text} of the page's second-level headings."""
    parts = re.split(r"^## (.+)\n", (SOURCE / "passes" / "PASSES.md").read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def passes():
    listed = run([SNLPC, "opt", "--list-passes"]).stdout.decode()
    return [line.split()[0] for line in listed.splitlines() if not line.startswith(" ")]


def opt(text, pipeline):
    path = SCRATCH / "example.snl"
    path.write_text(text)
    return run([SNLPC, "opt", path, "--verify-each", "--pipeline", pipeline]).stdout.decode()


def examples_are_what_the_pass_prints(name):
    examples = list(EXAMPLE.finditer(sections()[name]))
    check(examples, f"no example of {name}: a module in ```snl, with `--pipeline '...'`, the module after it")
    for example in examples:
        pipeline = example["pipeline"]
        check(pipeline.partition("{")[0] == name, f"{name}: the example runs {pipeline}")
        found = opt(example["before"], pipeline)
        check(found == example["after"], f"{pipeline} prints\n{found}")
        check(found != opt(example["before"], ""), f"{name}: the example shows nothing")
    return f"{len(examples)} examples"


def every_block_is_an_example():
    for name in passes():
        text = EXAMPLE.sub("", sections()[name])
        check("```" not in text, f"{name}: a block of code that is not held to the pass")


main([(f"examples of {name}", examples_are_what_the_pass_prints, name) for name in passes()]
     + [every_block_is_an_example])
