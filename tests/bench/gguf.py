"""Writes a llama-family model as GGUF, the form that llama.cpp and its relatives read.

Blocks of 32 inputs with an f16 scale d: q8_0 stores round(x / d) with d = max |x| / 127; q4_0 stores
x / d + 8 rounded, 0 to 15, with d = (the x of largest size) / -8, two to a byte (inputs i and i + 16).
The output matrix always stands apart, also where the folder ties it: peers then lay it out as they like.
"""
import struct

import numpy as np

import shapes
from weights import peer_tensor, to_bf16

TYPE = {"f32": 0, "q4_0": 2, "q8_0": 8, "bf16": 30}
FILE_TYPE = {"f32": 0, "q4_0": 2, "q8_0": 7, "bf16": 32}
ALIGN = 32
U32, I32, F32, STRING, ARRAY = 4, 5, 6, 8, 9
TOKEN_NORMAL, TOKEN_UNKNOWN, TOKEN_CONTROL, TOKEN_BYTE = 1, 2, 3, 6
LAYER_NAMES = {
    "input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
}


# ---- numbers as bytes ------------------------------------------------------------------------------

def q8_0(x):
    blocks = x.reshape(-1, shapes.BLOCK)
    d = np.abs(blocks).max(axis=1, keepdims=True) / np.float32(127)
    q = np.round(blocks * reciprocal(d)).astype(np.int8)
    return np.concatenate([d.astype("<f2").view(np.int8), q], axis=1)


def q4_0(x):
    blocks = x.reshape(-1, shapes.BLOCK)
    largest = np.abs(blocks).argmax(axis=1)[:, None]
    d = np.take_along_axis(blocks, largest, axis=1) / np.float32(-8)
    q = np.minimum(blocks * reciprocal(d) + np.float32(8.5), 15).astype(np.uint8)
    return np.concatenate([d.astype("<f2").view(np.uint8), q[:, :16] | q[:, 16:] << 4], axis=1)


def reciprocal(d):
    return np.divide(1, d, out=np.zeros_like(d), where=d != 0)


def encoded(x, kind):
    encode = {"f32": lambda w: w.astype("<f4"), "bf16": to_bf16, "q8_0": q8_0, "q4_0": q4_0}[kind]
    return encode(np.ascontiguousarray(x)).tobytes()


# ---- the file --------------------------------------------------------------------------------------

def string(text):
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def field(key, kind, value):
    pack = {U32: lambda v: struct.pack("<I", v), F32: lambda v: struct.pack("<f", v), STRING: string}
    return string(key) + struct.pack("<I", kind) + pack[kind](value)


def array(key, kind, values):
    body = b"".join(map(string, values)) if kind == STRING else \
        np.asarray(values, "<f4" if kind == F32 else "<i4").tobytes()
    return string(key) + struct.pack("<IIQ", ARRAY, kind, len(values)) + body


def vocabulary(n):
    """A tokenizer that loads; nobody tokenises with it."""
    tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{i:02X}>" for i in range(256)]
    kinds = [TOKEN_UNKNOWN, TOKEN_CONTROL, TOKEN_CONTROL] + [TOKEN_BYTE] * 256
    tokens += [f"t{i}" for i in range(len(tokens), n)]
    kinds += [TOKEN_NORMAL] * (n - len(kinds))
    return [array("tokenizer.ggml.tokens", STRING, tokens[:n]),
            array("tokenizer.ggml.scores", F32, np.zeros(n)),
            array("tokenizer.ggml.token_type", I32, kinds[:n])]


def metadata(s, body):
    numbers = {
        "general.file_type": FILE_TYPE[body], "llama.context_length": s.context,
        "llama.embedding_length": s.width, "llama.block_count": s.layers, "llama.feed_forward_length": s.ffn,
        "llama.attention.head_count": s.heads, "llama.attention.head_count_kv": s.kv_heads,
        "llama.rope.dimension_count": s.width // s.heads, "llama.vocab_size": s.vocab,
        "tokenizer.ggml.bos_token_id": 1, "tokenizer.ggml.eos_token_id": 2, "tokenizer.ggml.unknown_token_id": 0,
    }
    return [field("general.architecture", STRING, "llama"), field("general.name", STRING, s.name),
            *(field(key, U32, n) for key, n in numbers.items()),
            field("llama.attention.layer_norm_rms_epsilon", F32, 1e-5),
            field("llama.rope.freq_base", F32, 10000.0),
            field("tokenizer.ggml.model", STRING, "llama"), *vocabulary(s.vocab)]


def tensor_table(model, body, head):
    """(GGUF's name, the folder's name, format) of every tensor."""
    out = [("token_embd.weight", "model.embed_tokens.weight", head)]
    for i in range(model.shape.layers):
        for name, there in LAYER_NAMES.items():
            kind = "f32" if there.endswith("norm") else body
            out.append((f"blk.{i}.{there}.weight", f"model.layers.{i}.{name}.weight", kind))
    out.append(("output_norm.weight", "model.norm.weight", "f32"))
    tied = "lm_head.weight" not in model.shapes
    out.append(("output.weight", "model.embed_tokens.weight" if tied else "lm_head.weight", head))
    return out


def padded(raw):
    return raw + b"\0" * (-len(raw) % ALIGN)


def write(path, model, body, head):
    """`body`: format of the layers' matrices, `head`: of the embedding and the output matrix."""
    fields, table = metadata(model.shape, body), tensor_table(model, body, head)
    info, at = b"", 0
    for name, source, kind in table:
        dims = model.shapes[source][::-1]  # fastest first
        info += string(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, TYPE[kind], at)
        nbytes = int(np.prod(dims) * shapes.BYTES[kind])
        at += nbytes + -nbytes % ALIGN
    with open(path, "wb") as file:
        start = struct.pack("<4sIQQ", b"GGUF", 3, len(table), len(fields))
        file.write(padded(start + b"".join(fields) + info))
        for _, source, kind in table:
            file.write(padded(encoded(peer_tensor(model, source), kind)))
