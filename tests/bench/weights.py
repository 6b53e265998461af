"""A model's numbers: random ones of a shape, or those of a folder. Every tensor by its name in the
folder's files, made when it is asked for, so that no model need fit in memory."""
import json
import pathlib
import zlib

import numpy as np

LAYER_NORMS = ("input_layernorm", "post_attention_layernorm")


def llama_tensors(s):
    """Name -> shape, in the order of the file."""
    out = {"model.embed_tokens.weight": (s.vocab, s.width)}
    for i in range(s.layers):
        p = f"model.layers.{i}."
        out[p + "input_layernorm.weight"] = (s.width,)
        out[p + "self_attn.q_proj.weight"] = (s.width, s.width)
        out[p + "self_attn.k_proj.weight"] = (s.kv_width, s.width)
        out[p + "self_attn.v_proj.weight"] = (s.kv_width, s.width)
        out[p + "self_attn.o_proj.weight"] = (s.width, s.width)
        out[p + "post_attention_layernorm.weight"] = (s.width,)
        out[p + "mlp.gate_proj.weight"] = (s.ffn, s.width)
        out[p + "mlp.up_proj.weight"] = (s.ffn, s.width)
        out[p + "mlp.down_proj.weight"] = (s.width, s.ffn)
    out["model.norm.weight"] = (s.width,)
    if not s.tied:
        out["lm_head.weight"] = (s.vocab, s.width)
    return out


def nanochat_tensors(s):
    gate_inputs = 12
    scalars = {"backout_lambda": 1, "smear_lambda": 1, "resid_lambdas": s.layers, "x0_lambdas": s.layers}
    out = {name: (n,) for name, n in scalars.items()}
    out["smear_gate.weight"] = (1, 24)
    out["transformer.wte.weight"] = (s.vocab, s.width)
    for i in range(s.layers):
        p = f"transformer.h.{i}."
        for name, rows in (("c_q", s.width), ("c_k", s.kv_width), ("c_v", s.kv_width), ("c_proj", s.width)):
            out[f"{p}attn.{name}.weight"] = (rows, s.width)
        out[p + "mlp.c_fc.weight"] = (s.ffn, s.width)
        out[p + "mlp.c_proj.weight"] = (s.width, s.ffn)
        if s.value_embeds and i % 2 == (s.layers - 1) % 2:
            out[p + "attn.ve_gate.weight"] = (s.kv_heads, gate_inputs)
            out[f"value_embeds.{i}.weight"] = (s.vocab, s.kv_width)
    out["lm_head.weight"] = (s.vocab, s.width)
    return out


class Random:
    """Matrices are normal with variance 1 / inputs (embeddings 16 times that), norms are one."""

    def __init__(self, shape, seed=7):
        self.shape, self.seed = shape, seed
        self.shapes = llama_tensors(shape) if shape.family == "llama" else nanochat_tensors(shape)

    def tensor(self, name):
        dims = self.shapes[name]
        if len(dims) == 1:
            return np.ones(dims, np.float32)
        rng = np.random.default_rng((self.seed, zlib.crc32(name.encode())))
        scale = np.float32((4 if "embed" in name or "wte" in name else 1) / np.sqrt(dims[1]))
        return rng.standard_normal(dims, dtype=np.float32) * scale


class Folder:
    """The f32 tensors of a folder's model.safetensors."""

    def __init__(self, shape, folder):
        self.shape, self.path = shape, pathlib.Path(folder) / "model.safetensors"
        with open(self.path, "rb") as file:
            self.start = 8 + int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(self.start - 8))
        header.pop("__metadata__", None)
        self.at = {name: t["data_offsets"][0] for name, t in header.items()}
        self.shapes = {name: tuple(t["shape"]) for name, t in header.items()}
        kinds = {t["dtype"] for t in header.values()}
        if kinds != {"F32"}:
            raise ValueError(f"{self.path}: found tensors of {', '.join(sorted(kinds))}, wanted F32")

    def tensor(self, name):
        dims = self.shapes[name]
        return np.fromfile(self.path, "<f4", int(np.prod(dims)), offset=self.start + self.at[name]).reshape(dims)


def to_bf16(x):
    """The upper halves of f32 numbers, rounded to nearest even."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def interleave_rope(w, heads):
    """Rows (j, j + d/2) of each head become rows (2j, 2j + 1): folders turn the first kind of pair, GGUF's
    llama and llama2.c the second; with q and k reordered all compute the same function."""
    rows, cols = w.shape
    half = rows // heads // 2
    return w.reshape(heads, 2, half, cols).transpose(0, 2, 1, 3).reshape(rows, cols)


def peer_tensor(model, name):
    """A llama tensor as peers want it."""
    w = model.tensor(name)
    if name.endswith("q_proj.weight"):
        return interleave_rope(w, model.shape.heads)
    if name.endswith("k_proj.weight"):
        return interleave_rope(w, model.shape.kv_heads)
    return w
