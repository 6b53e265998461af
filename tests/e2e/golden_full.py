#!/usr/bin/env python3
"""All sequential reference cases through compiled programs; skipped where the full set is not there
(../shared/golden, or $SNL_SHARED/golden). golden_data.py always runs on the small copies."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import golden_program  # noqa: E402
import program  # noqa: E402

root = program.SHARED / "golden"
if not root.is_dir():
    program.skip(f"the reference set is not at {root} (SNL_SHARED says where)")
own = [folder for folder in sorted((root / "own").glob("*")) if (folder / "cases.json").is_file()]
program.main([(name, golden_program.check_folder, root / name) for name in program.MODELS] +
             [(f"own/{folder.name}", golden_program.check_folder, folder, False, 3) for folder in own])
