#!/usr/bin/env python3
"""A program whose file is not in memory reads of its tables the rows of its prompt and no others, and gives
the same numbers."""
import ctypes
import json
import mmap
import os
import pathlib
import random
import struct
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from program import SCRATCH, check, compile_model, ids_text, logits, main, run, skip  # noqa: E402

# A model with a table beside the embedding, each larger than what systems read ahead.
SHAPE = {"model_type": "nanochat", "sequence_len": 256, "vocab_size": 65536, "n_layer": 2, "n_head": 2,
         "n_kv_head": 2, "n_embd": 256, "window_pattern": "L", "no_x0_resid": False, "no_ve": False,
         "use_mhc": False, "mhc_num_streams": 4, "mhc_sinkhorn_iters": 10, "mhc_sinkhorn_tau": 0.05,
         "num_mtp_steps": 0, "mtp_loss_weight": 0.3}
PAGE = mmap.PAGESIZE
NEAR = 16  # pages that the system may take along with one


def drop(path):
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(fd)


def pages_in_memory(path):
    libc = ctypes.CDLL(None, use_errno=True)
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, flags=mmap.MAP_PRIVATE) as mapped:
        n = -(-len(mapped) // PAGE)
        found = (ctypes.c_ubyte * n)()
        hold = ctypes.c_ubyte.from_buffer(mapped)
        status = libc.mincore(ctypes.c_void_p(ctypes.addressof(hold)), ctypes.c_size_t(len(mapped)), found)
        del hold
        check(status == 0, f"mincore: {os.strerror(ctypes.get_errno())}")
    return {i for i in range(n) if found[i] & 1}


def tables_of(program):
    """[(offset in the file, rows, bytes of a row)] of the tables."""
    data = program.read_bytes()
    payload, _, _, _, manifest, n = struct.unpack("<8Q", data[-64:])[:6]
    weights = json.loads(data[payload + manifest:payload + manifest + n])["weights"]
    return [(payload + w["offset"], w["rows"], w["bytes"] // w["rows"]) for w in weights if w["layout"] == "rows"]


def rows_of_a_prompt():
    folder = SCRATCH / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(SHAPE))
    program = compile_model(folder, "cold", "--random-weights", "1", "--weights", "q8_0")
    tables = tables_of(program)
    check(len(tables) == 2, f"{len(tables)} tables")
    ids = random.Random(1).sample(range(SHAPE["vocab_size"]), 19) + [0, SHAPE["vocab_size"] - 1]
    warm = logits(program, ids, "-t", "2", n=1)
    drop(program)
    if pages_in_memory(program):
        skip("this system keeps files in memory")
    run([program, "--ids", ids_text(ids), "-n", "1", "-t", "2"])
    found = pages_in_memory(program)
    wanted = {page for offset, _, nbytes in tables for id in ids
              for page in range((offset + id * nbytes) // PAGE, (offset + (id + 1) * nbytes - 1) // PAGE + 1)}
    check(wanted <= found, f"{len(wanted - found)} pages of rows are not there")
    offset, n_rows, nbytes = tables[-1]  # reading ahead in what lies before the tables ends in the first one
    last_table = range(offset // PAGE + NEAR, (offset + n_rows * nbytes) // PAGE - NEAR)
    allowed = {page + i for page in wanted for i in range(-NEAR, NEAR + 1)}
    others = (found - allowed) & set(last_table)
    check(not others, f"{len(others)} of {len(last_table)} pages of a table came in that no token reads")
    drop(program)
    check(logits(program, ids, "-t", "2", n=1) == warm, "other logits from a cold file")
    return f"{len(found & set(last_table))} of {len(last_table)} pages"


main([rows_of_a_prompt])
