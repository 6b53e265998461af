#!/usr/bin/env python3
"""Writes random models of the benchmark shapes, the same numbers in every form that a peer reads.

usage: make_models.py SHAPE DIR       SHAPE: 260K, 15M, 110M

DIR/SHAPE/hf/          Hugging Face folder (config.json, model.safetensors, f32)
DIR/SHAPE/llama2c.bin  llama2.c checkpoint
DIR/SHAPE/tok.bin      a tokenizer that llama2.c accepts

Rotary rows: Hugging Face turns pairs (j, j + d/2), llama2.c pairs (2j, 2j + 1); the rows of q and k are
permuted so that both compute the same function.
"""
import json
import os
import struct
import sys

import numpy as np

#        width layers heads kv_heads ffn vocab context
SHAPES = {
    "260K": (64, 5, 8, 4, 172, 512, 512),
    "15M": (288, 6, 6, 6, 768, 32000, 1024),
    "110M": (768, 12, 12, 12, 2048, 32000, 1024),
}


def tensors(shape, seed=7):
    """Name -> array in Hugging Face order, layer-major."""
    d, n_layers, h, g, f, v, _ = shape
    rng = np.random.default_rng(seed)

    def matrix(rows, cols):
        return (rng.standard_normal((rows, cols), dtype=np.float32) / np.sqrt(cols)).astype(np.float32)

    out = {"model.embed_tokens.weight": matrix(v, d) * 4}
    kv = d // h * g
    for i in range(n_layers):
        p = f"model.layers.{i}."
        out[p + "input_layernorm.weight"] = np.ones(d, np.float32)
        out[p + "self_attn.q_proj.weight"] = matrix(d, d)
        out[p + "self_attn.k_proj.weight"] = matrix(kv, d)
        out[p + "self_attn.v_proj.weight"] = matrix(kv, d)
        out[p + "self_attn.o_proj.weight"] = matrix(d, d)
        out[p + "post_attention_layernorm.weight"] = np.ones(d, np.float32)
        out[p + "mlp.gate_proj.weight"] = matrix(f, d)
        out[p + "mlp.up_proj.weight"] = matrix(f, d)
        out[p + "mlp.down_proj.weight"] = matrix(d, f)
    out["model.norm.weight"] = np.ones(d, np.float32)
    return out


def write_folder(path, shape, weights):
    d, n_layers, h, g, f, v, context = shape
    os.makedirs(path, exist_ok=True)
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
        "hidden_size": d, "intermediate_size": f, "num_hidden_layers": n_layers,
        "num_attention_heads": h, "num_key_value_heads": g, "vocab_size": v,
        "max_position_embeddings": context, "rms_norm_eps": 1e-05, "rope_theta": 10000.0,
        "tie_word_embeddings": True, "bos_token_id": 1, "eos_token_id": 2, "torch_dtype": "float32",
    }
    with open(os.path.join(path, "config.json"), "w") as file:
        json.dump(config, file, indent=1)
    header, at = {}, 0
    for name, w in weights.items():
        header[name] = {"dtype": "F32", "shape": list(w.shape), "data_offsets": [at, at + w.nbytes]}
        at += w.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(os.path.join(path, "model.safetensors"), "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for w in weights.values():
            file.write(w.tobytes())


def interleave_rope(w, heads):
    """Rows (j, j + d/2) of each head become rows (2j, 2j + 1)."""
    rows, cols = w.shape
    half = rows // heads // 2
    return w.reshape(heads, 2, half, cols).transpose(0, 2, 1, 3).reshape(rows, cols)


def write_llama2c(path, shape, weights):
    d, n_layers, h, g, f, v, context = shape

    def layers(key):
        return [weights[f"model.layers.{i}.{key}.weight"] for i in range(n_layers)]

    parts = [weights["model.embed_tokens.weight"]]
    parts += layers("input_layernorm")
    parts += [interleave_rope(w, h) for w in layers("self_attn.q_proj")]
    parts += [interleave_rope(w, g) for w in layers("self_attn.k_proj")]
    parts += layers("self_attn.v_proj") + layers("self_attn.o_proj")
    parts += layers("post_attention_layernorm")
    parts += layers("mlp.gate_proj") + layers("mlp.down_proj") + layers("mlp.up_proj")
    parts += [weights["model.norm.weight"], np.zeros(context * (d // h), np.float32)]
    with open(os.path.join(path, "llama2c.bin"), "wb") as file:
        file.write(struct.pack("<7i", d, f, n_layers, h, g, v, context))
        for w in parts:
            file.write(np.ascontiguousarray(w).tobytes())
    with open(os.path.join(path, "tok.bin"), "wb") as file:
        file.write(struct.pack("<i", 8))
        for i in range(v):
            token = b"<%d>" % i
            file.write(struct.pack("<fi", 0.0, len(token)) + token)


def main():
    if len(sys.argv) != 3 or sys.argv[1] not in SHAPES:
        sys.exit(__doc__)
    shape, path = SHAPES[sys.argv[1]], os.path.join(sys.argv[2], sys.argv[1])
    weights = tensors(shape)
    write_folder(os.path.join(path, "hf"), shape, weights)
    write_llama2c(path, shape, weights)
    print(path)


if __name__ == "__main__":
    main()
