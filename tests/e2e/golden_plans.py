#!/usr/bin/env python3
"""The reference cases with plans through compiled programs: the small copies in tests/data always; with
SNL_FULL=1 the full set and its own/ part as well, where they are (../shared/golden, SNL_SHARED)."""
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import plan_program  # noqa: E402
import program  # noqa: E402

tests = [(name, plan_program.check_folder, program.DATA / name, "tests/data") for name in program.MODELS]
root = program.SHARED / "golden"
if os.environ.get("SNL_FULL") == "1" and root.is_dir():
    tests += [(f"full {name}", plan_program.check_folder, root / name, "golden") for name in program.MODELS]
    own = [folder for folder in sorted((root / "own").glob("*")) if (folder / "cases.json").is_file()]
    tests += [(f"own {folder.name}", plan_program.check_folder, folder, "own") for folder in own]
else:
    print(f"note: only the small copies; SNL_FULL=1 runs the full set (at {root})")
program.main(tests)
