"""Lines of C: at most 100 columns wide, and comments that head sections in one piece (clang-format
breaks them when they are wider). Prints FILE:LINE for each that is not."""
import pathlib
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
ROOMS = ("codegen", "compiler", "examples", "ir", "passes", "runtime", "tests", "tools")
MOST = 100
SECTION = "/* ----"


def mistakes_of(line, following):
    if len(line) > MOST:
        yield f"found {len(line)} columns, wanted at most {MOST}: break the line"
    if line.startswith(SECTION) and following.strip() == "*/":
        yield f"found a heading that ends in the next line, wanted '*/' within {MOST} columns"


def mistakes_in(root):
    found = []
    for room in ROOMS:
        for path in sorted((root / room).rglob("*.[ch]")):
            lines = path.read_text(encoding="utf-8").splitlines()
            for number, (line, following) in enumerate(zip(lines, [*lines[1:], ""]), 1):
                found += [f"{path.relative_to(root)}:{number}: {m}" for m in mistakes_of(line, following)]
    return found


def mistakes_are_found():
    """A tree with one of each."""
    heading = SECTION + " work " + "-" * 84
    with tempfile.TemporaryDirectory() as folder:
        room = pathlib.Path(folder) / "ir" / "base"
        room.mkdir(parents=True)
        (room / "good.c").write_text("x" * MOST + "\n" + heading + " */\n/* \u00e9" + "x" * (MOST - 4) + "\n")
        (room / "wide.h").write_text("\n" + "x" * (MOST + 1) + "\n")
        (room / "broken.c").write_text(heading + "\n */\n")
        (room / "notes.txt").write_text("x" * (MOST + 1) + "\n")
        found = mistakes_in(pathlib.Path(folder))
    wanted = [("ir/base/broken.c:1: ", "a heading that ends"), ("ir/base/wide.h:2: ", "101 columns")]
    if len(found) != len(wanted) or not all(f.startswith(at) and what in f for f, (at, what) in zip(found, wanted)):
        sys.exit(f"lines.py: in a tree with mistakes found {found}, wanted {wanted}")


mistakes_are_found()
mistakes = mistakes_in(ROOT)
for mistake in mistakes:
    print(mistake)
sys.exit(1 if mistakes else 0)
