#!/usr/bin/env python3
"""The small copies of the reference cases (tests/data) through compiled programs."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import golden_program  # noqa: E402
import program  # noqa: E402

# Each level of code in every kind of kernel.
LEVELS = ["llama", "nanochat-mhc", "nanochat-win"]
program.main([(name, golden_program.check_folder, program.DATA / name, name in LEVELS) for name in program.MODELS])
