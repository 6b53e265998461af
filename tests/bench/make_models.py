#!/usr/bin/env python3
"""Writes the models of the benchmark shapes, the same numbers in every form that a contestant reads.

usage: make_models.py SHAPE DIR [FORMAT ...]     SHAPE: 260K, 15M, 110M, 0.5B, 0.5B-llama, deep, tiny
                                                 FORMAT: f32 bf16 q8_0 q4_0 (of GGUF files)

DIR/SHAPE/hf/           Hugging Face folder (config.json, model.safetensors)
DIR/SHAPE/FORMAT.gguf   GGUF; q4_0 has its output matrix in q8_0
DIR/SHAPE/llama2c.bin   llama2.c checkpoint, and tok.bin, a tokenizer that llama2.c accepts

Numbers are random with a fixed seed, but 260K is the real stories260K where ../shared (or $SNL_SHARED)
has it. Of the nanochat family (0.5B, deep) peers get a gated llama of the same size, with numbers of its own.
What is there already is kept.
"""
import json
import os
import pathlib
import shutil
import struct
import sys

import numpy as np

import gguf
from shapes import HEAD_OF, SHAPES, in_blocks, peer_shape
from weights import Folder, Random, peer_tensor, to_bf16

SHARED = pathlib.Path(os.environ.get("SNL_SHARED") or pathlib.Path(__file__).resolve().parents[3] / "shared")


def config(s):
    if s.family == "llama":
        return {
            "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
            "hidden_size": s.width, "intermediate_size": s.ffn, "num_hidden_layers": s.layers,
            "num_attention_heads": s.heads, "num_key_value_heads": s.kv_heads, "vocab_size": s.vocab,
            "max_position_embeddings": s.context, "rms_norm_eps": 1e-05, "rope_theta": 10000.0,
            "tie_word_embeddings": s.tied, "bos_token_id": 1, "eos_token_id": 2, "torch_dtype": "float32",
        }
    return {
        "model_type": "nanochat", "sequence_len": s.context, "vocab_size": s.vocab, "n_layer": s.layers,
        "n_head": s.heads, "n_kv_head": s.kv_heads, "n_embd": s.width, "window_pattern": "L",
        "no_x0_resid": False, "no_ve": not s.value_embeds, "use_mhc": False, "mhc_num_streams": 4,
        "mhc_sinkhorn_iters": 10, "mhc_sinkhorn_tau": 0.05, "num_mtp_steps": 0, "mtp_loss_weight": 0.3,
    }


def write_folder(path, model):
    """Matrices of the nanochat family as bf16, which halves a large file; all else as f32."""
    path.mkdir()
    (path / "config.json").write_text(json.dumps(config(model.shape), indent=1))
    header, at = {}, 0
    for name, dims in model.shapes.items():
        kind = "BF16" if model.shape.family == "nanochat" and len(dims) > 1 else "F32"
        end = at + int(np.prod(dims)) * (2 if kind == "BF16" else 4)
        header[name] = {"dtype": kind, "shape": list(dims), "data_offsets": [at, end]}
        at = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path / "model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name in model.shapes:
            w = model.tensor(name)
            file.write((to_bf16(w) if header[name]["dtype"] == "BF16" else w.astype("<f4")).tobytes())


def write_llama2c(path, model):
    s = model.shape
    keys = ("input_layernorm", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
            "post_attention_layernorm", "mlp.gate_proj", "mlp.down_proj", "mlp.up_proj")
    names = ["model.embed_tokens.weight"]
    names += [f"model.layers.{i}.{key}.weight" for key in keys for i in range(s.layers)]
    names.append("model.norm.weight")
    with open(path, "wb") as file:
        vocab = s.vocab if s.tied else -s.vocab  # its sign says whether an output matrix follows
        file.write(struct.pack("<7i", s.width, s.ffn, s.layers, s.heads, s.kv_heads, vocab, s.context))
        for name in names:
            file.write(np.ascontiguousarray(peer_tensor(model, name), "<f4").tobytes())
        file.write(bytes(4 * s.context * (s.width // s.heads)))  # tables of angles: skipped by its reader
        if not s.tied:
            file.write(model.tensor("lm_head.weight").astype("<f4").tobytes())


def write_tokens(path, vocab):
    with open(path, "wb") as file:
        file.write(struct.pack("<i", 8))
        for i in range(vocab):
            token = b"<%d>" % i
            file.write(struct.pack("<fi", 0.0, len(token)) + token)


def numbers_of(shape):
    real = SHARED / "models" / "stories260K"
    if shape.name == "260K" and (real / "model.safetensors").is_file():
        return Folder(shape, real)
    return Random(shape)


def make_file(path, write, *args):
    """Appears whole or not at all; a folder too."""
    if path.exists():
        return path
    unfinished = path.with_name(path.name + ".part")
    if unfinished.is_dir():
        shutil.rmtree(unfinished)
    write(unfinished, *args)
    unfinished.rename(path)
    return path


def make_folder(shape, work):
    path = pathlib.Path(work) / shape.name
    path.mkdir(parents=True, exist_ok=True)
    return make_file(path / "hf", write_folder, numbers_of(shape))


def make_gguf(shape, work, kind):
    model = numbers_of(peer_shape(shape))
    path = pathlib.Path(work) / shape.name
    path.mkdir(parents=True, exist_ok=True)
    return make_file(path / f"{kind}.gguf", gguf.write, model, kind, HEAD_OF.get(kind, kind))


def make_llama2c(shape, work):
    model = numbers_of(peer_shape(shape))
    path = pathlib.Path(work) / shape.name
    path.mkdir(parents=True, exist_ok=True)
    return (make_file(path / "llama2c.bin", write_llama2c, model),
            make_file(path / "tok.bin", write_tokens, shape.vocab))


def main():
    if len(sys.argv) < 3 or sys.argv[1] not in SHAPES or not set(sys.argv[3:]) <= gguf.TYPE.keys():
        sys.exit(__doc__)
    shape, work, kinds = SHAPES[sys.argv[1]], sys.argv[2], sys.argv[3:]
    if not in_blocks(peer_shape(shape)) and {"q8_0", "q4_0"} & set(kinds):
        sys.exit(f"{shape.name}: its rows are no whole blocks of 32 inputs; GGUF can hold f32 and bf16 of it")
    print(make_folder(shape, work))
    print(*make_llama2c(shape, work), sep="\n")
    for kind in kinds:
        print(make_gguf(shape, work, kind))


if __name__ == "__main__":
    main()
