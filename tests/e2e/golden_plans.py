#!/usr/bin/env python3
"""The reference cases with plans through compiled programs: the small copies in tests/data always; with
SNL_FULL=1 the full set and its own/ part as well, where they are (../shared/golden, SNL_SHARED)."""
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import plan_program  # noqa: E402
import program  # noqa: E402

# REFERENCE.md, "applies": how many cases there are to run.
APPLY = {"llama": 38, "nanochat-full": 81, "nanochat-gqa": 68, "nanochat-mhc": 66, "nanochat-nox0ve": 81,
         "nanochat-win": 7, "qwen2": 38, "qwen3": 38}


def check_counted(folder):
    found = len(program.Golden(folder).cases)
    program.check(found == APPLY[folder.name],
                  f"{folder.name}: {found} cases apply, {APPLY[folder.name]} by REFERENCE.md")
    return plan_program.check_folder(folder)


tests = [(name, plan_program.check_folder, program.DATA / name) for name in program.MODELS]
root = program.SHARED / "golden"
if os.environ.get("SNL_FULL") == "1" and root.is_dir():
    tests += [(f"full {name}", check_counted, root / name) for name in program.MODELS]
    own = [folder for folder in sorted((root / "own").glob("*")) if (folder / "cases.json").is_file()]
    tests += [(f"own {folder.name}", plan_program.check_folder, folder) for folder in own]
else:
    print(f"note: only the small copies; SNL_FULL=1 runs the full set (at {root})")
program.main(tests)
