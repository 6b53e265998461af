"""How many stored cases there are, apply, and do not apply by reason: the tables of REFERENCE.md and of
tests/data/case_counts.md (see tests/support/case_counts.h), and what a test counted."""
from collections import Counter

from program import DATA, MODELS, SHARED, check

CASES, APPLIES, DOES_NOT_APPLY = "cases", "applies", "does not apply"
STORED = DATA / "case_counts.md"


def _cells(line):
    return [cell.strip(" *") for cell in line.strip().strip("|").split("|")]


def _model(column):
    return next(model for model in MODELS if column in (model, model.partition("-")[2]))


def read(path, after=""):
    """{model: {row: count}} of the first table behind the text `after`."""
    text = path.read_text()
    text = text[text.index(after):]
    lines = text[text.index("| | llama |"):].split("\n\n")[0].splitlines()
    models = [_model(name) for name in _cells(lines[0])[1:-1]]
    table = {model: {} for model in models}
    for line in lines[2:]:
        what, *counts = _cells(line)
        for model, count in zip(models, counts[:-1], strict=True):
            table[model][what] = int(count or 0)
    return table


def wanted(part):
    """The table of "golden", "own" or "tests/data"; of golden by REFERENCE.md, where it is there."""
    reference = SHARED / "golden" / "REFERENCE.md"
    if part == "golden" and reference.is_file():
        return read(reference)
    return read(STORED, f"## {part}\n")


def compare(part, golden, ran):
    """Says what ran and what does not apply, and fails where the table has other numbers."""
    found = Counter(golden.not_applying)
    found |= {CASES: ran + golden.not_applying.total(), APPLIES: ran, DOES_NOT_APPLY: golden.not_applying.total()}
    table = wanted(part)[golden.name]
    for what in table.keys() | found.keys():
        check(found[what] == table.get(what, 0),
              f"{golden.name}: {what}: found {found[what]}, wanted {table.get(what, 0)} by the table")
    reasons = ", ".join(f"{n} {why}" for why, n in sorted(golden.not_applying.items()))
    return f"{ran} cases ran, {golden.not_applying.total()} do not apply{': ' if reasons else ''}{reasons}"
